-- Notifications that are sent again, taken back, or handed on when nobody reacts.

-- The key of the alert that a delivery is, while the alert is open.
ALTER TABLE delivery_rows ADD COLUMN alert TEXT;
-- When a delivery that was made is sent again; -1 where it is not, because somebody reacted.
ALTER TABLE delivery_rows ADD COLUMN again INTEGER;
-- How often it was sent again.
ALTER TABLE delivery_rows ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;

CREATE INDEX delivery_rows_alert ON delivery_rows (sink, alert, seq) WHERE alert IS NOT NULL;
CREATE INDEX delivery_rows_again ON delivery_rows (again, seq, sink) WHERE again > 0;

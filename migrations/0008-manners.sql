-- Notifications that wait, and those that one message tells together.

-- What keeps a delivery of state 5 (held) waiting: group, quiet-hours, rate, pause. `not_before` is
-- until when.
ALTER TABLE delivery_rows ADD COLUMN held TEXT;
-- What is held together: the key of a group; empty for a digest.
ALTER TABLE delivery_rows ADD COLUMN held_key TEXT;
-- The event whose message tells of this one too; it waits until that message has ended.
ALTER TABLE delivery_rows ADD COLUMN lead INTEGER;
-- How many others its message tells of.
ALTER TABLE delivery_rows ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery_rows ADD COLUMN is_digest INTEGER NOT NULL DEFAULT 0;
-- The quiet hours that do not hold it, a bit for each.
ALTER TABLE delivery_rows ADD COLUMN allowed INTEGER NOT NULL DEFAULT 0;
-- The key of the cooldown that it began: given back if nobody is told.
ALTER TABLE delivery_rows ADD COLUMN cooldown TEXT;

CREATE INDEX delivery_rows_held ON delivery_rows (sink, seq, bytes) WHERE state = 5;
CREATE INDEX delivery_rows_release ON delivery_rows (not_before, seq, sink)
    WHERE state = 5 AND lead IS NULL;
CREATE INDEX delivery_rows_joined ON delivery_rows (sink, held, held_key)
    WHERE state = 5 AND lead IS NULL AND held_key IS NOT NULL;
CREATE INDEX delivery_rows_lead ON delivery_rows (sink, lead, seq) WHERE lead IS NOT NULL;

DROP VIEW deliveries;
CREATE VIEW deliveries AS
SELECT
    sink, seq,
    CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'done' WHEN 2 THEN 'dead' WHEN 3 THEN 'parked'
        WHEN 4 THEN 'suppressed' ELSE 'held' END AS state,
    attempts,
    strftime('%Y-%m-%dT%H:%M:%fZ', max(not_before, created) / 1e6, 'unixepoch') AS not_before,
    last_error,
    lead AS told_with
FROM delivery_rows;

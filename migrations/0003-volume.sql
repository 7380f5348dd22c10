-- What waits is found by an index and counted without being read.

-- How large the event is: bytes of its body, data and additions.
ALTER TABLE delivery_rows ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE delivery_rows SET bytes = coalesce(
    (SELECT octet_length(e.body) + coalesce(octet_length(e.data), 0) + octet_length(e.enrich)
        FROM event_rows AS e WHERE e.pos = delivery_rows.seq AND e.seq IS NULL),
    (SELECT octet_length(e.body) + coalesce(octet_length(e.data), 0) + octet_length(e.enrich)
        FROM event_rows AS e WHERE e.seq = delivery_rows.seq),
    0)
WHERE state IN (0, 3);

-- A delivery that was not tried yet has no time of its own: it is due at once. So the index has
-- these first, in the order of their events, and behind them those that wait for another try.
UPDATE delivery_rows SET not_before = 0 WHERE state IN (0, 3) AND attempts = 0;
DROP INDEX delivery_rows_open;
CREATE INDEX delivery_rows_due ON delivery_rows (sink, not_before, seq, bytes) WHERE state = 0;
CREATE INDEX delivery_rows_parked ON delivery_rows (sink, seq, bytes) WHERE state = 3;

CREATE INDEX dead_letters_last ON dead_letters (last);

DROP VIEW deliveries;
CREATE VIEW deliveries AS
SELECT
    sink, seq,
    CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'done' WHEN 2 THEN 'dead' WHEN 3 THEN 'parked'
        ELSE 'suppressed' END AS state,
    attempts,
    strftime('%Y-%m-%dT%H:%M:%fZ', max(not_before, created) / 1e6, 'unixepoch') AS not_before,
    last_error
FROM delivery_rows;

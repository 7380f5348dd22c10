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

-- Where `map data` takes a part of the message, the body is that part alone (data_from and data
-- are null); this is the hash of the message, to tell a repetition from a conflict.
ALTER TABLE inbox ADD COLUMN message_hash INTEGER;
ALTER TABLE event_rows ADD COLUMN message_hash INTEGER;
ALTER TABLE dead_letters ADD COLUMN message_hash INTEGER;
-- The event as it was mapped, as JSON, where the body is its data alone: it cannot be mapped again.
ALTER TABLE dead_letters ADD COLUMN mapped TEXT;

-- What was not sent to the store is not shown: its list of targets is of kind 5 in `names`.
DROP VIEW event_metrics;
DROP VIEW event_enrichments;
DROP VIEW events;
CREATE VIEW events AS
SELECT
    e.pos AS pos,
    coalesce(e.seq, e.pos) AS seq,
    e.id AS id,
    coalesce((SELECT text FROM names WHERE code = e.type), e.type) AS type,
    coalesce((SELECT text FROM names WHERE code = e.source), e.source) AS source,
    e.subject AS subject,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.time / 1e6, 'unixepoch') AS time,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.received / 1e6, 'unixepoch') AS received,
    CASE e.priority WHEN 0 THEN 'low' WHEN 1 THEN 'normal' WHEN 2 THEN 'high' ELSE 'critical' END
        AS priority,
    e.correlation AS correlation_id,
    e.parent AS parent_id,
    e.generation AS generation,
    CASE WHEN e.data_from IS NOT NULL
        THEN CAST(substr(e.body, e.data_from + 1, e.data_size) AS TEXT)
        ELSE coalesce(e.data, CAST(e.body AS TEXT)) END AS data,
    e.enrich AS enrich,
    coalesce((SELECT text FROM names WHERE code = e.targets), e.targets) AS targets,
    e.body AS body
FROM event_rows AS e
WHERE e.targets IN (SELECT code FROM names WHERE kind = 3)
    OR (typeof(e.targets) = 'text' AND instr(' ' || e.targets || ' ',
        ' ' || (SELECT value FROM meta WHERE key = 'store') || ' '));

CREATE VIEW event_enrichments AS
SELECT
    e.id AS event_id,
    e.pos AS pos,
    coalesce((SELECT text FROM names WHERE code = s.value ->> 0), s.value ->> 0) AS stage,
    coalesce((SELECT text FROM names WHERE code = s.value ->> 1), s.value ->> 1) AS kind,
    CASE s.value ->> 2 WHEN 0 THEN 'ok' WHEN 1 THEN 'skipped' WHEN 2 THEN 'failed'
        WHEN 3 THEN 'timed-out' WHEN 4 THEN 'circuit-open' ELSE 'cached' END AS outcome,
    s.value ->> 3 AS attempts,
    s.value ->> 5 AS micros,
    s.value ->> 6 AS error,
    json_extract(e.enrich, '$."'
        || coalesce((SELECT text FROM names WHERE code = s.value ->> 0), s.value ->> 0) || '"') AS data
FROM event_rows AS e, json_each(e.stages) AS s
WHERE e.targets IN (SELECT code FROM names WHERE kind = 3)
    OR (typeof(e.targets) = 'text' AND instr(' ' || e.targets || ' ',
        ' ' || (SELECT value FROM meta WHERE key = 'store') || ' '));

CREATE VIEW event_metrics AS
SELECT event_id, stage || '.duration' AS metric_name, micros / 1e6 AS metric_value,
    'seconds' AS metric_unit
FROM event_enrichments
UNION ALL
SELECT event_id, stage || '.attempts', attempts, 'count' FROM event_enrichments;

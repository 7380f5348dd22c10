-- Why a stage was skipped is the same for many events, so it is a word of `names` too, of kind 6.
-- What a stage failed with stays text.
DROP VIEW event_metrics;
DROP VIEW event_enrichments;
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
    CASE typeof(s.value ->> 6) WHEN 'integer'
        THEN (SELECT text FROM names WHERE code = s.value ->> 6) ELSE s.value ->> 6 END AS error,
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

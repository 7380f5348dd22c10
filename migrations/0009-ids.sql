-- One event by its id, for whoever reads the views: the engine itself finds it by the hash of its
-- source and id.
CREATE INDEX event_rows_id ON event_rows (id);

-- Recognised faces, one row for each event.
CREATE VIEW face_recognition_events AS
SELECT
    pos AS id,
    event_id,
    data ->> '$.recognition_count' AS recognition_count,
    data ->> '$.known_count' AS known_count,
    data ->> '$.unknown_count' AS unknown_count,
    data ->> '$.blacklisted_count' AS blacklisted_count,
    data ->> '$.recognition_time' AS recognition_time,
    data -> '$.recognitions' AS recognition_data,
    created_at
FROM (
    SELECT
        e.pos AS pos,
        e.id AS event_id,
        CASE WHEN e.data_from IS NOT NULL
            THEN CAST(substr(e.body, e.data_from + 1, e.data_size) AS TEXT)
            ELSE coalesce(e.data, CAST(e.body AS TEXT)) END AS data,
        strftime('%Y-%m-%dT%H:%M:%fZ', e.received / 1e6, 'unixepoch') AS created_at
    FROM event_rows AS e
    WHERE e.type IN (
            SELECT code FROM names
            WHERE kind = 0 AND text IN ('FACE_RECOGNIZED', 'FACE_UNKNOWN', 'FACE_BLACKLISTED')
            UNION ALL VALUES ('FACE_RECOGNIZED'), ('FACE_UNKNOWN'), ('FACE_BLACKLISTED')
        )
        AND (e.targets IN (SELECT code FROM names WHERE kind = 3)
            OR (typeof(e.targets) = 'text' AND instr(' ' || e.targets || ' ',
                ' ' || (SELECT value FROM meta WHERE key = 'store') || ' ')))
);

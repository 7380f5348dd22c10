-- One database: what was accepted, what became of it, and what is still to be told.
-- Words that repeat (types, sources, stages, lists of targets) stand once in `names`; a column
-- without a type holds such a code, or the word itself when the dictionary is full.

CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE names (
    code INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL, -- 0 type, 1 source, 2 stage, 3 targets, 4 kind of stage
    text TEXT NOT NULL,
    UNIQUE (kind, text)
);

-- Finished events in the order in which they became visible. Small columns first: a scan that
-- wants no payload does not read it.
CREATE TABLE event_rows (
    pos INTEGER PRIMARY KEY,
    seq INTEGER, -- null where it equals pos
    type, source, targets,
    time INTEGER NOT NULL, -- microseconds since 1970
    received INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    data_from INTEGER, -- where `data` stands in `body`; null where it has text of its own
    data_size INTEGER,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    correlation TEXT,
    parent TEXT,
    enrich TEXT NOT NULL,
    stages TEXT NOT NULL, -- [[stage, kind, outcome, attempts, started, micros, error], …]
    data TEXT,
    body BLOB NOT NULL
);
CREATE INDEX event_rows_kind ON event_rows (type, source, time);
CREATE INDEX event_rows_priority ON event_rows (priority, time);
CREATE INDEX event_rows_seq ON event_rows (seq) WHERE seq IS NOT NULL;
CREATE INDEX event_rows_correlation ON event_rows (correlation) WHERE correlation IS NOT NULL;

-- Accepted and not finished.
CREATE TABLE inbox (
    seq INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    received INTEGER NOT NULL,
    time INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    correlation TEXT,
    parent TEXT,
    data_from INTEGER,
    data_size INTEGER,
    data TEXT,
    body BLOB NOT NULL
);

-- What effectful stages answered for events of the inbox.
CREATE TABLE results (
    seq INTEGER NOT NULL,
    stage TEXT NOT NULL,
    generation INTEGER NOT NULL,
    output TEXT NOT NULL,
    PRIMARY KEY (seq, stage)
) WITHOUT ROWID;

-- The outbox. Times in microseconds since 1970.
CREATE TABLE delivery_rows (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state INTEGER NOT NULL, -- 0 pending, 1 done, 2 dead, 3 parked, 4 suppressed
    attempts INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    created INTEGER NOT NULL,
    last_error TEXT,
    PRIMARY KEY (sink, seq)
) WITHOUT ROWID;
CREATE INDEX delivery_rows_open ON delivery_rows (sink, seq) WHERE state = 0;
CREATE INDEX delivery_rows_seq ON delivery_rows (seq);

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    what TEXT NOT NULL, -- rejected, event, delivery
    seq INTEGER,
    source_node TEXT NOT NULL,
    source TEXT,
    event_id TEXT,
    stage TEXT NOT NULL,
    class TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX dead_letters_seq ON dead_letters (seq) WHERE seq IS NOT NULL;

-- Ids that came before: keyed hash of (source, id), the event's number, hash of its bytes.
CREATE TABLE seen (hash INTEGER PRIMARY KEY, seq INTEGER NOT NULL, body INTEGER NOT NULL);

-- Counts, by hour of arrival.
CREATE TABLE rollups (
    bucket INTEGER NOT NULL, -- hours since 1970
    type, source,
    priority INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    n INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (bucket, type, source, priority, outcome)
) WITHOUT ROWID;

CREATE TABLE stage_rollups (
    bucket INTEGER NOT NULL,
    stage TEXT NOT NULL,
    outcome TEXT NOT NULL,
    n INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    most INTEGER NOT NULL,
    PRIMARY KEY (bucket, stage, outcome)
) WITHOUT ROWID;

CREATE TABLE state (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER, -- microseconds since 1970; null is never
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX state_expires ON state (expires) WHERE expires IS NOT NULL;

CREATE TABLE reloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    hash TEXT NOT NULL,
    outcome TEXT NOT NULL,
    changes TEXT NOT NULL,
    diagnostics TEXT
);

-- For other programs: words instead of codes, times as text.
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
    CASE WHEN e.data_from IS NULL THEN e.data
        ELSE CAST(substr(e.body, e.data_from + 1, e.data_size) AS TEXT) END AS data,
    e.enrich AS enrich,
    coalesce((SELECT text FROM names WHERE code = e.targets), e.targets) AS targets,
    e.body AS body
FROM event_rows AS e;

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
FROM event_rows AS e, json_each(e.stages) AS s;

CREATE VIEW event_metrics AS
SELECT event_id, stage || '.duration' AS metric_name, micros / 1e6 AS metric_value,
    'seconds' AS metric_unit
FROM event_enrichments
UNION ALL
SELECT event_id, stage || '.attempts', attempts, 'count' FROM event_enrichments;

CREATE VIEW deliveries AS
SELECT
    sink, seq,
    CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'done' WHEN 2 THEN 'dead' WHEN 3 THEN 'parked'
        ELSE 'suppressed' END AS state,
    attempts,
    strftime('%Y-%m-%dT%H:%M:%fZ', not_before / 1e6, 'unixepoch') AS not_before,
    last_error
FROM delivery_rows;

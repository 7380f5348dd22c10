-- Counts by the minute, for two days, beside those by the hour; and how long stages took, by the
-- size of the time, so that percentiles can be told.

CREATE TABLE minute_rollups (
    bucket INTEGER NOT NULL, -- minutes since 1970
    type, source,
    priority INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (bucket, type, source, priority, outcome)
) WITHOUT ROWID;

CREATE TABLE stage_minutes (
    bucket INTEGER NOT NULL, -- minutes since 1970
    stage TEXT NOT NULL, -- empty for the event: from its arrival to the end of its last stage
    outcome TEXT NOT NULL,
    slot INTEGER NOT NULL, -- four to each power of two of microseconds
    n INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    most INTEGER NOT NULL,
    PRIMARY KEY (bucket, stage, outcome, slot)
) WITHOUT ROWID;

CREATE TABLE stage_hours (
    bucket INTEGER NOT NULL, -- hours since 1970
    stage TEXT NOT NULL,
    outcome TEXT NOT NULL,
    slot INTEGER NOT NULL, -- -1 where it was not counted yet
    n INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    most INTEGER NOT NULL,
    PRIMARY KEY (bucket, stage, outcome, slot)
) WITHOUT ROWID;
INSERT INTO stage_hours SELECT bucket, stage, outcome, -1, n, micros, most FROM stage_rollups;
DROP TABLE stage_rollups;

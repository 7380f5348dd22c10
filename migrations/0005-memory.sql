-- What stages remember of earlier events, by key, and when they want to look again.

-- One row for each stage that remembers. What counts as the same stage over a reload is its name
-- and its print: kind and key.
CREATE TABLE memories (
    code INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    print TEXT NOT NULL
);

-- Where events come from: the time of each goes on by itself.
CREATE TABLE lanes (
    code INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE remembered (
    memory INTEGER NOT NULL,
    key TEXT NOT NULL,
    lane INTEGER NOT NULL, -- where the last event of this key came from
    touched INTEGER NOT NULL, -- arrival of the last event, to forget the oldest first
    due INTEGER, -- by the time of events: when to look again
    wake INTEGER, -- the same by the wall clock, where no event comes any more
    kept TEXT NOT NULL, -- as JSON
    PRIMARY KEY (memory, key)
) WITHOUT ROWID;
CREATE INDEX remembered_due ON remembered (lane, due) WHERE due IS NOT NULL;
CREATE INDEX remembered_wake ON remembered (wake) WHERE wake IS NOT NULL;

-- Events of the inbox that a stage sent: they have still to pass the filters. `depth` counts how
-- many were sent because of one another.
CREATE TABLE emitted (
    seq INTEGER PRIMARY KEY,
    depth INTEGER NOT NULL,
    lane INTEGER NOT NULL
);

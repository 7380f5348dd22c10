-- What is needed to put a dead letter right, and who did.

-- How a refused message came in, as JSON: the request, the id and type that its source gave, the
-- file with line and offset. What `map` reads of it is there when the message is taken in again.
ALTER TABLE dead_letters ADD COLUMN context TEXT;
CREATE INDEX dead_letters_event ON dead_letters (event_id) WHERE event_id IS NOT NULL;

-- What was done by hand.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL, -- microseconds since 1970
    who TEXT NOT NULL, -- the name of the token, or empty where none is asked for
    action TEXT NOT NULL, -- redrive, drop
    subject TEXT NOT NULL, -- the letters, as JSON
    outcome TEXT NOT NULL -- as JSON
);

-- What the index of texts holds. The index itself, `event_texts`, is made when a file asks for it:
-- not every SQLite has full text.
CREATE TABLE text_index (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    fields TEXT NOT NULL, -- the paths whose texts are in it, as JSON
    filled_from INTEGER NOT NULL, -- events from this `pos` on are in it; 0 when all are
    is_going INTEGER NOT NULL DEFAULT 0 -- it is being removed
);

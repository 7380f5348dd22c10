-- Messages that a later one with the same key replaces.

-- The key of the message that a delivery sends or changes.
ALTER TABLE delivery_rows ADD COLUMN message_key TEXT;
CREATE INDEX delivery_rows_message ON delivery_rows (sink, message_key)
    WHERE message_key IS NOT NULL AND state IN (0, 5);

-- The last message of each key that a service took: the event that it tells of, what the service
-- calls it, and until when it may be changed.
CREATE TABLE sent_messages (
    sink TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (sink, key)
) WITHOUT ROWID;
CREATE INDEX sent_messages_sink ON sent_messages (sink, until);
CREATE INDEX sent_messages_until ON sent_messages (until);

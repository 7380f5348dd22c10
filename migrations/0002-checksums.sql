-- A checksum of everything in the row that is read back, its body included, keyed with the secret
-- of the store. Null in a row that was written before there were checksums; it is read as it is.
ALTER TABLE event_rows ADD COLUMN checksum INTEGER;
ALTER TABLE inbox ADD COLUMN checksum INTEGER;
ALTER TABLE results ADD COLUMN checksum INTEGER;
ALTER TABLE dead_letters ADD COLUMN checksum INTEGER;

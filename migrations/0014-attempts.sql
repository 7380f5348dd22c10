-- Single attempts at a delivery: when each began, how long it took, and how it ended.

-- How long the attempt took that the other side accepted, in microseconds; it ended at
-- `not_before`. So a delivery that succeeds at once needs nothing more.
ALTER TABLE delivery_rows ADD COLUMN micros INTEGER;
-- The attempts before it, as JSON: [left out, [began, micros, class, reason], …].
ALTER TABLE delivery_rows ADD COLUMN attempt_log TEXT;

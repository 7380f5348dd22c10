-- Notifications that one notifier hands to another.

-- Why there is a delivery that no route makes, and whose it was before: `fallback phone`.
ALTER TABLE delivery_rows ADD COLUMN via TEXT;

DROP VIEW deliveries;
CREATE VIEW deliveries AS
SELECT
    sink, seq,
    CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'done' WHEN 2 THEN 'dead' WHEN 3 THEN 'parked'
        WHEN 4 THEN 'suppressed' ELSE 'held' END AS state,
    attempts,
    strftime('%Y-%m-%dT%H:%M:%fZ', max(not_before, created) / 1e6, 'unixepoch') AS not_before,
    last_error,
    lead AS told_with,
    via
FROM delivery_rows;

-- Each provider calls us by a secret of its own. Until now one was shared by all: an installation that may have given it
-- out goes on taking it for 30 days, a new one never does.
INSERT INTO settings (key, value)
SELECT 'receipts_shared_until', to_char((now() + interval '30 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
WHERE EXISTS (SELECT FROM settings WHERE key = 'key_fingerprint')
ON CONFLICT (key) DO NOTHING;

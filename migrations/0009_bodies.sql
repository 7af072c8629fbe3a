-- What came is kept as the JSON text it was; `payload` is that text read as JSONB, worked out when somebody asks.
-- Turning 1.5 KB into JSONB was more than half of what an insert costs the database, and only people look at it.
-- `body` is never null, and so `payload` is not. Declared, the server would work it out at each insert to check it.
-- An older version writes webhook_events.payload:
-- needs: stop

ALTER TABLE webhook_events RENAME payload TO body;
ALTER TABLE webhook_events ALTER body TYPE json USING body::text::json;
-- Bodies over 2 kB meet TOAST; compressing them with pglz costs more than it saves, and lz4 is not in every build.
ALTER TABLE webhook_events ALTER body SET STORAGE EXTERNAL;

DO $$
BEGIN
  EXECUTE format(
    'ALTER TABLE webhook_events ADD payload jsonb GENERATED ALWAYS AS (body::jsonb) %s',
    -- Older servers have stored ones only, and pay at the insert as before.
    CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN 'VIRTUAL' ELSE 'STORED NOT NULL' END);
END $$;

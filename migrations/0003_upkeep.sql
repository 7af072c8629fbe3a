-- Upkeep: what is forgotten, and what a restored backup must not say again.

-- Set by `restore`. What is no newer than this moment may have been told by the service that made the backup, in the
-- time the backup does not know of: it counts as heard, and is stated as `unknown` instead of being sent.
ALTER TABLE companies ADD quiet_until timestamptz;

-- People who were erased, as HMAC-SHA256 of the client's id under a key that is not in this database: enough to
-- recognise the client when the platform speaks of them again, and nothing else.
CREATE TABLE erased_people (
  company_id integer NOT NULL,
  client_hash bytea NOT NULL CHECK (octet_length(client_hash) = 32),
  erased_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, client_hash)
);

CREATE INDEX bookings_of_client ON bookings (company_id, client_id);
-- For pruning; rows stay about where they were inserted, so block ranges are enough.
CREATE INDEX messages_created_at ON messages USING brin (created_at) WITH (autosummarize);
CREATE INDEX booking_changes_created_at ON booking_changes USING brin (created_at) WITH (autosummarize);

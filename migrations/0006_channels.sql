-- Sending at the rate that a provider allows, shared by all processes: the same slots as for calls to the platform.
-- Scopes `send/<channel>` are accounts and `send/<channel>/<4 hex digits>` chats: a digest of the address cut to 16
-- bits names nobody and bounds the rows at 65,536 a channel. Two chats that fall into one wait for each other.
-- queued_until: where the queue of those that did not get a slot ends.
ALTER TABLE api_budget ADD COLUMN queued_until timestamptz NOT NULL DEFAULT '-infinity';

-- What providers tell of messages they took, by the id they gave them. A receipt may come before we have noted that id
-- (the attempt is being recorded), and for messages that are not ours (written by the salon's people in the same
-- account): so it stands alone and meets its attempt by the id. Nothing of a person is in it.
CREATE TABLE receipts (
  channel text NOT NULL,
  provider_id text NOT NULL CHECK (provider_id <> ''),
  status text NOT NULL CHECK (status IN ('delivered', 'read', 'failed')),
  -- A code of the provider's, for a failure.
  reason text NOT NULL DEFAULT '',
  -- By the provider's clock, where it tells.
  happened_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, provider_id, status)
);
CREATE INDEX receipts_by_time ON receipts (created_at);
CREATE INDEX attempts_by_provider_id ON attempts (channel, provider_id) WHERE provider_id IS NOT NULL;

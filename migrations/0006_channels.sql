-- Sending at the rate that a provider allows, shared by all processes: the same slots as for calls to the platform.
-- Scopes `send/<channel>` are accounts and `send/<channel>/<4 hex digits>` chats: a digest of the address cut to 16
-- bits names nobody and bounds the rows at 65,536 a channel. Two chats that fall into one wait for each other.
-- queued_until: where the queue of those that did not get a slot ends.
ALTER TABLE api_budget ADD COLUMN queued_until timestamptz NOT NULL DEFAULT '-infinity';

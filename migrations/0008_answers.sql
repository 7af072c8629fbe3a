-- Answers: how a person reaches us back. Chats linked by a phone, opt-outs with their proof, and what people ask us to do.

-- What a link to the bot carries, so that the chat it opens is known to be this company's: t.me/<bot>?start=<invite>.
ALTER TABLE companies ADD invite text UNIQUE CHECK (invite ~ '^[0-9a-z]{12}$');

-- A chat that somebody opened with a bot of ours. With a phone it is an address of whoever has that phone there, also
-- of those who become clients later.
CREATE TABLE chats (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  channel text NOT NULL,
  chat text NOT NULL CHECK (chat <> ''),
  -- E.164, from a contact that is the sender's own.
  phone text CHECK (phone <> ''),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, channel, chat)
);
CREATE INDEX chats_of_chat ON chats (channel, chat);
CREATE INDEX chats_of_phone ON chats (company_id, phone) WHERE phone IS NOT NULL;

-- Append-only: who allowed or refused what, when, where and in which words. The latest word on a channel and category
-- counts. A chat, not a client, is who speaks: the phone may be that of several clients, or of none yet.
CREATE TABLE consents (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  channel text NOT NULL,
  address text NOT NULL CHECK (address <> ''),
  category text NOT NULL CHECK (category IN ('service', 'advertising')),
  granted boolean NOT NULL,
  -- What the person wrote or pressed.
  words text NOT NULL,
  given_at timestamptz NOT NULL,
  PRIMARY KEY (company_id, channel, address, category, id)
);

-- What a person asked for by an answer, to be done at the platform's API.
--   due ──claim──▶ doing ──▶ done
--    ▲               ├──▶ refused   it makes no sense any more: the visit moved, is over, is gone
--    └───later───────┴──▶ failed    the API would not, or could not for too long; the person was told
CREATE TABLE actions (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('confirm', 'cancel')),
  record_id bigint NOT NULL,
  -- The message that was answered, and who answered where.
  message_id uuid NOT NULL,
  recipient text NOT NULL,
  channel text NOT NULL,
  chat text NOT NULL,
  state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'doing', 'done', 'refused', 'failed')),
  due_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  leased_by uuid,
  leased_until timestamptz,
  -- Why it was refused or failed: a word of ours.
  reason text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (company_id, id),
  CHECK ((state = 'doing') = (leased_until IS NOT NULL))
);
-- Pressed twice, done once.
CREATE UNIQUE INDEX actions_once ON actions (company_id, record_id, kind) WHERE state IN ('due', 'doing');
CREATE INDEX actions_of_message ON actions (company_id, message_id);
CREATE INDEX actions_open ON actions (due_at) WHERE state IN ('due', 'doing');

-- How far the updates of a bot were heard. One process listens at a time: the Bot API refuses a second.
CREATE TABLE ears (
  channel text NOT NULL,
  -- The bot's own id.
  account text NOT NULL,
  position bigint NOT NULL DEFAULT 0,
  leased_by uuid,
  leased_until timestamptz,
  PRIMARY KEY (channel, account)
);

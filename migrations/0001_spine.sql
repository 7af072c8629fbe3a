-- The spine: what came in (webhook_events), what is true (bookings, people, entities), what goes out (messages).
-- Keys begin with the company, so that a sharded PostgreSQL can distribute by it. Invariants are CHECKs and unique
-- indexes, not code. Moments are timestamptz; a visit's hour is a naive timestamp in the salon's own zone.

CREATE TABLE settings (
  key text PRIMARY KEY,
  value text NOT NULL
);

CREATE TABLE companies (
  company_id integer PRIMARY KEY CHECK (company_id > 0),
  title text NOT NULL,
  zone text NOT NULL,
  brand text NOT NULL DEFAULT 'yclients' CHECK (brand IN ('yclients', 'altegio')),
  locale text NOT NULL DEFAULT 'ru' CHECK (locale IN ('ru', 'en')),
  phone text NOT NULL DEFAULT '',
  address text NOT NULL DEFAULT '',
  -- How long after a change we wait for the next one before the client is told.
  settle_ms integer NOT NULL DEFAULT 5000 CHECK (settle_ms BETWEEN 0 AND 600000),
  -- Channels in order of preference; the first for which the person has an address is used.
  route text[] NOT NULL DEFAULT '{console}' CHECK (cardinality(route) > 0),
  webhook_url text,
  bot_api_prefix text,
  signature_required boolean NOT NULL DEFAULT false,
  -- Stop receiving and notifying; the data stays.
  removed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Keys of webhook URLs, as HMAC-SHA256 under a key that is not in this database. Two may live at once.
CREATE TABLE company_keys (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  PRIMARY KEY (company_id, key_hash)
);

-- Secrets we must be able to use: sealed with AES-256-GCM. `inbound`: senders who sign; `outbound`: our webhook channel.
CREATE TABLE company_secrets (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  id uuid NOT NULL,
  purpose text NOT NULL CHECK (purpose IN ('inbound', 'outbound')),
  sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  PRIMARY KEY (company_id, id)
);

-- The inbox. A row is pending until its effect is committed in the same transaction as `done`.
--   pending ──▶ done
--      │  ▲
--      ▼  │ next_at has come
--   waiting ──▶ dead (gave up; kept, visible, can be replayed)
--   quarantined: a valid key but a body nobody can read; `raw` keeps its bytes.
CREATE TABLE webhook_events (
  id uuid PRIMARY KEY,
  event_id varchar(255) NOT NULL UNIQUE,
  event_type varchar(50) NOT NULL,
  company_id integer NOT NULL,
  -- bigint: the platform's record ids passed 1.9 billion in 2026 and leave the range of integer soon.
  record_id bigint GENERATED ALWAYS AS (CASE WHEN resource = 'record' THEN resource_id END) STORED,
  payload jsonb NOT NULL,
  processed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  resource varchar(40) NOT NULL,
  resource_id bigint NOT NULL,
  status varchar(20) NOT NULL,
  source text NOT NULL CHECK (source IN ('webhook', 'reconcile', 'replay', 'test')),
  -- Everything of one resource falls into one shard, and a shard is worked by one process at a time: that is the order.
  shard smallint NOT NULL GENERATED ALWAYS AS (
    (hashtextextended(company_id::text || ':' || resource::text || ':' || resource_id::text, 0) & 63)::smallint
  ) STORED,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'waiting', 'done', 'dead', 'quarantined')),
  -- What it came to: merged, same, stale, kept (a resource or status we do not know), test.
  effect text,
  attempts integer NOT NULL DEFAULT 0,
  next_at timestamptz,
  error text,
  raw bytea,
  CHECK ((state = 'waiting') = (next_at IS NOT NULL)),
  CHECK ((state = 'done') = (processed_at IS NOT NULL))
);
-- Bodies over 2 kB meet TOAST; compressing them with pglz costs more than it saves, and lz4 is not in every build.
ALTER TABLE webhook_events ALTER COLUMN payload SET STORAGE EXTERNAL;
-- Arrival is the physical order, so a block-range index finds a period at a thousandth of a B-tree's cost.
CREATE INDEX webhook_events_created_at ON webhook_events USING brin (created_at) WITH (autosummarize);
CREATE INDEX webhook_events_pending ON webhook_events (shard, seq) WHERE state = 'pending';
CREATE INDEX webhook_events_waiting ON webhook_events (company_id, resource, resource_id, seq) WHERE state = 'waiting';
CREATE INDEX webhook_events_troubled ON webhook_events (company_id, id) WHERE state IN ('dead', 'quarantined');
-- Ids are UUIDv7: their order is the order of arrival.
CREATE INDEX webhook_events_of_company ON webhook_events (company_id, id);

-- 64 shards, each leased to one process. Whoever holds one writes the events of its records, nobody else.
CREATE TABLE shards (
  shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
  owner uuid,
  leased_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO shards (shard) SELECT generate_series(0, 63);

-- Processes that process events; the shards are shared out evenly among the living.
CREATE TABLE workers (
  id uuid PRIMARY KEY,
  alive_until timestamptz NOT NULL
);

CREATE TABLE bookings (
  company_id integer NOT NULL,
  record_id bigint NOT NULL,
  visit_id bigint,
  starts_local timestamp,
  -- starts_local read in the company's zone.
  starts_at timestamptz,
  duration_seconds integer,
  staff_id bigint,
  staff_name text,
  -- [{id, title, amount}]; the order means nothing.
  services jsonb,
  client_id bigint,
  -- Distinguishes "the record has no client" from "no body has said yet".
  client_known boolean NOT NULL DEFAULT false,
  attendance smallint CHECK (attendance IN (-1, 0, 1, 2)),
  deleted boolean,
  paid boolean,
  comment text,
  origin text CHECK (origin IN ('bot', 'widget', 'app', 'aggregator', 'admin', 'unknown')),
  made_at timestamptz,
  state text NOT NULL CHECK (state IN ('waiting', 'confirmed', 'arrived', 'no_show', 'cancelled')),
  version timestamptz NOT NULL,
  -- Fields whose version is older than `version`: {field: epoch ms}.
  field_versions jsonb NOT NULL DEFAULT '{}',
  -- What each recipient last heard: {"client:1": {facts, step, how}}.
  told jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, record_id),
  CHECK (client_known OR client_id IS NULL)
);
CREATE INDEX bookings_by_start ON bookings (company_id, starts_at);

-- Append-only: what happened to each booking, for its history, audit and analytics.
CREATE TABLE booking_changes (
  company_id integer NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  record_id bigint NOT NULL,
  event_id uuid NOT NULL,
  kind text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}',
  -- The version of the body that brought it.
  changed_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id)
);
CREATE INDEX booking_changes_of_record ON booking_changes (company_id, record_id, id);

-- Each field is a register whose latest version wins, as in bookings.
CREATE TABLE people (
  company_id integer NOT NULL,
  client_id bigint NOT NULL,
  name text NOT NULL DEFAULT '',
  name_version timestamptz NOT NULL DEFAULT '-infinity',
  -- E.164 where it could be read as a number, else as it came.
  phone text NOT NULL DEFAULT '',
  phone_version timestamptz NOT NULL DEFAULT '-infinity',
  email text NOT NULL DEFAULT '',
  email_version timestamptz NOT NULL DEFAULT '-infinity',
  -- The salon's flag "does not want messages".
  refuses boolean NOT NULL DEFAULT false,
  refuses_version timestamptz NOT NULL DEFAULT '-infinity',
  deleted boolean NOT NULL DEFAULT false,
  deleted_version timestamptz NOT NULL DEFAULT '-infinity',
  PRIMARY KEY (company_id, client_id)
) WITH (fillfactor = 80);

-- Where a person can be reached beyond phone and e-mail (a Telegram chat).
CREATE TABLE addresses (
  company_id integer NOT NULL,
  client_id bigint NOT NULL,
  channel text NOT NULL,
  address text NOT NULL CHECK (address <> ''),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, client_id, channel)
);

-- Copies of everything else the salon tells us of: staff, services, goods, operations, cards, schedules.
CREATE TABLE entities (
  company_id integer NOT NULL,
  resource text NOT NULL,
  resource_id bigint NOT NULL,
  title text NOT NULL DEFAULT '',
  data jsonb NOT NULL DEFAULT '{}',
  deleted boolean NOT NULL DEFAULT false,
  version timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, resource, resource_id)
);

-- The outbox. One notice at most is open per booking and recipient; what it says is settled when it is claimed.
--   due ──claim──▶ sending ──▶ sent ──▶ delivered
--    │ ▲               │
--    │ └───retry───────┼──▶ failed     certain refusal (no address, blocked, refused by the provider)
--    │                 ├──▶ dead       tries used up
--    │                 └──▶ unknown    may have gone out and cannot be asked: never sent again by itself
--    ├──▶ superseded   what was heard is true again
--    ├──▶ expired      the visit has begun
--    └──▶ cancelled    by an operator
CREATE TABLE messages (
  company_id integer NOT NULL,
  id uuid NOT NULL,
  record_id bigint,
  purpose text NOT NULL CHECK (purpose IN ('notice', 'test')),
  recipient text NOT NULL,
  -- The telling this is: the recipient's told.step + 1.
  step integer NOT NULL DEFAULT 1 CHECK (step > 0),
  state text NOT NULL DEFAULT 'due' CHECK (state IN (
    'due', 'sending', 'sent', 'delivered', 'failed', 'dead', 'unknown', 'superseded', 'expired', 'cancelled')),
  due_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  -- Fixed at the claim.
  kind text,
  told_before jsonb,
  told_after jsonb,
  channel text,
  subject text,
  body text,
  -- Null while the next try of an uncertain message is awaited.
  leased_by uuid,
  leased_until timestamptz,
  -- An attempt may have gone out: from then on the text is fixed, and only a channel that drops repeats may try again.
  uncertain boolean NOT NULL DEFAULT false,
  error text,
  provider_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz,
  PRIMARY KEY (company_id, id),
  CHECK ((state = 'sending') = (leased_until IS NOT NULL)),
  CHECK (purpose <> 'notice' OR record_id IS NOT NULL)
);
-- The guarantee "once", before any send: one message that is open or was told per booking, purpose, recipient and step.
CREATE UNIQUE INDEX messages_once ON messages (company_id, record_id, purpose, recipient, step)
  WHERE purpose = 'notice' AND state IN ('due', 'sending', 'sent', 'delivered', 'unknown');
CREATE INDEX messages_due ON messages (due_at) WHERE state = 'due';
CREATE INDEX messages_sending ON messages (leased_until) WHERE state = 'sending';
CREATE INDEX messages_of_record ON messages (company_id, record_id);
CREATE INDEX messages_by_time ON messages (company_id, created_at);

CREATE TABLE attempts (
  company_id integer NOT NULL,
  message_id uuid NOT NULL,
  number integer NOT NULL,
  channel text NOT NULL,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('sent', 'retry', 'rejected', 'unknown')),
  reason text NOT NULL DEFAULT '',
  provider_id text,
  PRIMARY KEY (company_id, message_id, number),
  FOREIGN KEY (company_id, message_id) REFERENCES messages ON DELETE CASCADE
);

-- Who changed what by command or API. Never a secret or a person's data.
CREATE TABLE audit_log (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  actor text NOT NULL,
  action text NOT NULL,
  company_id integer,
  subject text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now()
);

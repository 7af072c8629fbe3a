-- Nothing is missed: what we ask the platform's API for, how far we are certain, and what its webhooks left out.

ALTER TABLE companies
  -- Where changes come from: its webhooks, polling its API, or both. Webhooks are reconciled either way.
  ADD source text NOT NULL DEFAULT 'webhook' CHECK (source IN ('webhook', 'poll', 'both')),
  -- When a record event is settled by reading the record again.
  ADD verify text NOT NULL DEFAULT 'doubt' CHECK (verify IN ('always', 'doubt', 'never')),
  ADD sweep_ms integer NOT NULL DEFAULT 900000 CHECK (sweep_ms BETWEEN 60000 AND 86400000),
  ADD poll_ms integer NOT NULL DEFAULT 60000 CHECK (poll_ms BETWEEN 10000 AND 86400000),
  -- The moment from which a booking made is news; what is older was there before us.
  ADD known_since timestamptz NOT NULL DEFAULT now(),
  -- The platform says that the salon switched us off: nothing is received, read or sent; the data stays.
  ADD stopped_at timestamptz,
  ADD stopped_because text CHECK (stopped_because IN ('uninstall', 'freeze')),
  ADD CHECK ((stopped_at IS NULL) = (stopped_because IS NULL));

-- `user`: the platform's user token of this company, the second half of the authorisation header.
ALTER TABLE company_secrets DROP CONSTRAINT company_secrets_purpose_check;
ALTER TABLE company_secrets ADD CONSTRAINT company_secrets_purpose_check
  CHECK (purpose IN ('inbound', 'outbound', 'user'));

-- The platform counts calls per address we call from; all processes behind one address share a row.
-- A call reserves the next free slot and waits for it; a pause (a 429, a breaker) only moves the slot ahead.
CREATE TABLE api_budget (
  scope text PRIMARY KEY,
  next_slot_at timestamptz NOT NULL DEFAULT '-infinity',
  -- Answers in a row that say the platform is down.
  failures integer NOT NULL DEFAULT 0,
  paused_until timestamptz NOT NULL DEFAULT '-infinity',
  paused_because text NOT NULL DEFAULT ''
);

-- How far each sweep of a company is certain, and when it is due again.
--   baseline: the first silent import. delta: what changed since the watermark. full: the coming days, absences too.
CREATE TABLE sweeps (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('baseline', 'delta', 'full')),
  due_at timestamptz NOT NULL,
  -- Everything changed before this moment is known.
  watermark timestamptz,
  -- An unfinished sweep goes on from here: {startedAt, since, page, …}.
  cursor jsonb,
  started_at timestamptz,
  finished_at timestamptz,
  -- Of the last that ended: {pages, read, found, lateMs, gapMs}. `lateMs` after it was due, `gapMs` after the one before.
  last jsonb,
  failures integer NOT NULL DEFAULT 0,
  error text,
  leased_by uuid,
  leased_until timestamptz,
  PRIMARY KEY (company_id, kind)
);
CREATE INDEX sweeps_due ON sweeps (due_at);

-- Records to be read again: an event about them was partial, without a version, or contradicted another.
CREATE TABLE rereads (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  record_id bigint NOT NULL,
  reason text NOT NULL,
  due_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  -- A new doubt takes the lease away from whoever is reading: what was read is not the answer to it.
  leased_by uuid,
  leased_until timestamptz,
  PRIMARY KEY (company_id, record_id)
);
CREATE INDEX rereads_due ON rereads (due_at);

ALTER TABLE bookings
  -- The version of a booking that reconciliation brought and no webhook has brought yet.
  ADD found_version timestamptz,
  -- Until then nobody is told anything of it unless the record has been read again.
  ADD doubt_until timestamptz;

ALTER TABLE webhook_events DROP CONSTRAINT webhook_events_source_check;
ALTER TABLE webhook_events ADD CONSTRAINT webhook_events_source_check
  CHECK (source IN ('webhook', 'reconcile', 'verify', 'replay', 'test'));

-- Counted per company and hour; kept when events are pruned.
CREATE TABLE company_hours (
  company_id integer NOT NULL,
  hour timestamptz NOT NULL,
  -- Record webhooks that brought something new, and how long after the change they came.
  webhooks integer NOT NULL DEFAULT 0,
  lag_ms_sum bigint NOT NULL DEFAULT 0,
  lag_ms_max bigint NOT NULL DEFAULT 0,
  -- Changes that reconciliation brought, and those of them whose webhook came after all.
  missed integer NOT NULL DEFAULT 0,
  late integer NOT NULL DEFAULT 0,
  api_calls integer NOT NULL DEFAULT 0,
  PRIMARY KEY (company_id, hour)
);

-- What the platform says that we do not know: format drift.
CREATE TABLE drift (
  kind text NOT NULL CHECK (kind IN ('missing', 'type', 'enum', 'resource', 'status')),
  path text NOT NULL,
  count bigint NOT NULL DEFAULT 0,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  -- The value's shape, with no letter or digit of it kept.
  sample text NOT NULL DEFAULT '',
  told_at timestamptz,
  PRIMARY KEY (kind, path)
);

-- Alerts to whoever runs this: what is wrong now, since when, and when it was told last.
--
-- A row appears when a number passes its limit (`since`), counts as raised once it has stayed there for long enough
-- (`raised_at`), and goes when the number has stayed on the good side for long enough (`better_since`).
CREATE TABLE alerts (
  kind text NOT NULL,
  -- What it is about: a company's id, a channel, a cause; '' where there is only one.
  subject text NOT NULL,
  label text NOT NULL DEFAULT '',
  detail text NOT NULL DEFAULT '',
  value float8 NOT NULL,
  since timestamptz NOT NULL,
  raised_at timestamptz,
  told_at timestamptz,
  better_since timestamptz,
  PRIMARY KEY (kind, subject),
  CHECK ((raised_at IS NULL) = (told_at IS NULL)),
  CHECK (better_since IS NULL OR raised_at IS NOT NULL)
);

-- The one process that looks out for trouble; the row is locked while it does.
CREATE TABLE alert_watch (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  owner uuid NOT NULL,
  leased_until timestamptz NOT NULL
);

-- What the public port refused, by cause: receivers add to it, the watch reads the last hour.
CREATE TABLE rejects (
  minute timestamptz NOT NULL,
  cause text NOT NULL,
  count integer NOT NULL,
  PRIMARY KEY (minute, cause)
);

-- Alerts go out through the outbox, as messages of company 0, which is none. `step` numbers them.
ALTER TABLE messages
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check
    CHECK (purpose IN ('notice', 'test', 'alert', 'reminder', 'review', 'no_show', 'rebook')),
  DROP CONSTRAINT messages_planned_check,
  ADD CONSTRAINT messages_planned_check CHECK ((purpose IN ('notice', 'test', 'alert')) = (rule IS NULL)
    AND (rule IS NULL) = (planned_for IS NULL) AND (rule IS NULL) = (visit_at IS NULL)
    AND (rule IS NULL OR record_id IS NOT NULL)),
  ADD CONSTRAINT messages_alert_check CHECK ((purpose = 'alert') = (company_id = 0)
    AND (purpose <> 'alert' OR (channel IS NOT NULL AND body IS NOT NULL)));
CREATE UNIQUE INDEX messages_alert_once ON messages (step, channel) WHERE purpose = 'alert';
CREATE INDEX messages_dead ON messages (updated_at) WHERE state = 'dead';

-- Whose fault a rejection was: the address's, the message's, or the channel's, which is ours to mend.
ALTER TABLE attempts ADD scope text;
-- Rows stay where they were inserted, so block ranges are enough to find the last minutes.
CREATE INDEX attempts_finished_at ON attempts USING brin (finished_at) WITH (autosummarize);

-- Policies: what a salon wants said, to whom and when; and messages that are planned ahead of their moment.
-- An older version reads companies.settle_ms:
-- needs: stop

-- What a salon wrote, in its own words; what it left out is as `src/domain/policy.ts` has it. The highest version holds.
CREATE TABLE policies (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  version integer NOT NULL CHECK (version > 0),
  document jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object'),
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, version)
);

-- The settle time is part of the policy now.
INSERT INTO policies (company_id, version, document, actor)
  SELECT company_id, 1, jsonb_build_object('settle', jsonb_build_object('any', settle_ms || 'ms')), 'migration'
  FROM companies;
ALTER TABLE companies DROP settle_ms;

-- Messages that are planned ahead: by which rule, for which moment, of which records of a visit.
ALTER TABLE messages
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check
    CHECK (purpose IN ('notice', 'test', 'reminder', 'review', 'no_show', 'rebook')),
  -- A reminder's name (24h), or the purpose; null for what is not planned.
  ADD rule text,
  ADD planned_for timestamptz,
  -- When the visit begins.
  ADD visit_at timestamptz,
  -- [{recordId, startsLocal}]; from the claim on with what is said of each.
  ADD visit jsonb,
  ADD CONSTRAINT messages_planned_check CHECK ((purpose IN ('notice', 'test')) = (rule IS NULL)
    AND (rule IS NULL) = (planned_for IS NULL) AND (rule IS NULL) = (visit_at IS NULL)
    AND (rule IS NULL OR record_id IS NOT NULL));

-- One message a visit at its hour, rule and recipient, whoever plans it.
CREATE UNIQUE INDEX messages_planned_once ON messages (company_id, record_id, rule, recipient, visit_at)
  WHERE rule IS NOT NULL AND state IN ('due', 'sending', 'sent', 'delivered', 'unknown');
-- What was said and planned for one client.
CREATE INDEX messages_of_recipient ON messages (company_id, recipient) WHERE rule IS NOT NULL;

-- Whether the client agreed to advertising (`is_newsletter_allowed`).
ALTER TABLE people
  ADD newsletter boolean NOT NULL DEFAULT false,
  ADD newsletter_version timestamptz NOT NULL DEFAULT '-infinity';

-- Companies whose clients are all to be planned anew: another policy, another zone, work again after a stop. Clients up
-- to `after_client` are done. It begins when everything that was under way at the first look has ended (`ready_xid`):
-- what read the policy before may still write by it until then.
CREATE TABLE replans (
  company_id integer PRIMARY KEY REFERENCES companies ON DELETE CASCADE,
  after_client bigint NOT NULL DEFAULT 0,
  ready_xid xid8,
  requested_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO replans (company_id) SELECT company_id FROM companies;

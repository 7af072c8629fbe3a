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

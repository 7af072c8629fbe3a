-- The team: masters and administrators who are told of bookings, and the administrators' daily digest.

CREATE TABLE team (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  member_id bigint GENERATED ALWAYS AS IDENTITY,
  role text NOT NULL CHECK (role IN ('staff', 'administrator')),
  -- The platform's, of a master.
  staff_id bigint CHECK (staff_id > 0),
  name text NOT NULL DEFAULT '',
  -- Where they are told; nothing until an invitation was followed. Empty where the channel has one destination.
  channel text,
  address text,
  -- From when on they are told. What there was before is not news to them.
  since timestamptz,
  -- SHA-256 of what their own link to the bot carries; it opens names and hours of clients to whoever has it.
  invite_hash bytea UNIQUE CHECK (octet_length(invite_hash) = 32),
  invited_until timestamptz,
  PRIMARY KEY (company_id, member_id),
  CHECK ((role = 'staff') = (staff_id IS NOT NULL)),
  CHECK ((channel IS NULL) = (since IS NULL) AND (address IS NULL) = (since IS NULL)),
  CHECK ((invite_hash IS NULL) = (invited_until IS NULL)),
  CHECK (since IS NOT NULL OR invite_hash IS NOT NULL)
);
CREATE UNIQUE INDEX team_of_staff ON team (company_id, staff_id) WHERE role = 'staff';
-- One place is told once of what concerns all.
CREATE UNIQUE INDEX team_of_administrators ON team (company_id, channel, address) WHERE role = 'administrator';
CREATE INDEX team_of_address ON team (channel, address);

-- A digest is one message an administrator and day of the salon, which `step` numbers: 20261124.
ALTER TABLE messages
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check
    CHECK (purpose IN ('notice', 'test', 'alert', 'digest', 'reminder', 'review', 'no_show', 'rebook')),
  DROP CONSTRAINT messages_planned_check,
  ADD CONSTRAINT messages_planned_check CHECK ((purpose IN ('notice', 'test', 'alert', 'digest')) = (rule IS NULL)
    AND (rule IS NULL AND purpose <> 'digest') = (planned_for IS NULL) AND (rule IS NULL) = (visit_at IS NULL)
    AND (rule IS NULL OR record_id IS NOT NULL));
CREATE UNIQUE INDEX messages_digest_once ON messages (company_id, recipient, step) WHERE purpose = 'digest';

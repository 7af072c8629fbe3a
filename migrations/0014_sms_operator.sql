-- SMS-operator mode: the platform gives us its own texts, they leave by our routes, and it hears what became of each.

-- A URL key is for a salon's events or for its texts, never for both: whoever has one cannot do the other's work.
ALTER TABLE company_keys ADD COLUMN use text NOT NULL DEFAULT 'events' CHECK (use IN ('events', 'texts'));

-- A text to one phone is a message with purpose `relay`; its recipient is the phone, its body the text from the start.
ALTER TABLE messages
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check
    CHECK (purpose IN ('notice', 'test', 'alert', 'digest', 'relay', 'reminder', 'review', 'no_show', 'rebook')),
  DROP CONSTRAINT messages_planned_check,
  ADD CONSTRAINT messages_planned_check CHECK (
    (purpose IN ('notice', 'test', 'alert', 'digest', 'relay')) = (rule IS NULL)
    AND (rule IS NULL AND purpose <> 'digest') = (planned_for IS NULL) AND (rule IS NULL) = (visit_at IS NULL)
    AND (rule IS NULL OR record_id IS NOT NULL));

-- What the platform asked for, and what it has been told. What it is to be told next follows from the message's state
-- (`domain/relay.ts`); this row only says when to look.
CREATE TABLE relays (
  company_id integer NOT NULL,
  message_id uuid NOT NULL,
  -- Of its id, phone and text: the platform may send one text twice.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- The platform's id of this sending, by which it knows a status; ours where it gave none.
  their_id text NOT NULL CHECK (their_id <> ''),
  category text NOT NULL CHECK (category IN ('service', 'advertising')),
  -- The channel that it named; null: none that we know.
  asked text,
  accepted_at timestamptz NOT NULL,
  -- The last status that it took.
  told smallint CHECK (told IN (1, 2, 4, 8, 16, 52)),
  -- How often the message has moved: who found nothing to tell forgets the hour only if it has not moved since.
  moves integer NOT NULL DEFAULT 0,
  -- When to look; null: there is nothing to tell until the message moves.
  due_at timestamptz,
  -- Tries of the status that is next.
  attempts integer NOT NULL DEFAULT 0,
  -- Why the last try failed, or the telling was given up: a word of ours.
  reason text,
  leased_by uuid,
  leased_until timestamptz,
  PRIMARY KEY (company_id, message_id),
  UNIQUE (company_id, digest),
  FOREIGN KEY (company_id, message_id) REFERENCES messages ON DELETE CASCADE
);
CREATE INDEX relays_due ON relays (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX relays_by_time ON relays (company_id, accepted_at);
CREATE INDEX people_of_phone ON people (company_id, phone) WHERE phone <> '';

-- The one trigger here. A message moves by claims, settlements, receipts and fallbacks, in half a dozen statements;
-- each would have to remember this, and a look at every open text each second would read days of them.
CREATE OR REPLACE FUNCTION relay_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE relays SET moves = moves + 1, due_at = least(due_at, now())
  WHERE company_id = NEW.company_id AND message_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER relay_moved AFTER UPDATE OF state ON messages
  FOR EACH ROW WHEN (NEW.purpose = 'relay' AND NEW.state IS DISTINCT FROM OLD.state)
  EXECUTE FUNCTION relay_moved();

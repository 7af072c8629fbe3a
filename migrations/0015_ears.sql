-- Ears that are told: what a messenger brings by a call of its own is kept here before the call is answered, and is
-- understood by whoever listens.

CREATE TABLE heard (
  channel text NOT NULL,
  -- A digest of the messenger's own id: it calls again until it is answered, and what comes twice counts once.
  update_id text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  -- Who said what in which chat; gone as soon as it was understood.
  said jsonb,
  heard_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, update_id)
);
CREATE INDEX heard_new ON heard (channel, id) WHERE said IS NOT NULL;

-- A visit of several records is one answer and an action for each. `asked`: a word asked to cancel, and another has to
-- follow. `move`: where the visit can be moved is looked up; `link` is what was found.
ALTER TABLE actions DROP CONSTRAINT actions_kind_check,
  ADD CONSTRAINT actions_kind_check CHECK (kind IN ('confirm', 'cancel', 'move')),
  DROP CONSTRAINT actions_state_check,
  ADD CONSTRAINT actions_state_check CHECK (state IN ('asked', 'due', 'doing', 'done', 'refused', 'failed')),
  ADD link text CHECK (link ~ '^https?://');
CREATE INDEX actions_asked ON actions (channel, chat) WHERE state = 'asked';

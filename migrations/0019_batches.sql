-- Batches: notices to an administrator that are gathered leave as one message.
ALTER TABLE messages
  -- The message that says this one with others; it is `superseded` by it.
  ADD part_of uuid,
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check CHECK (purpose IN
    ('notice', 'test', 'alert', 'digest', 'batch', 'relay', 'reminder', 'review', 'no_show', 'rebook')),
  DROP CONSTRAINT messages_planned_check,
  ADD CONSTRAINT messages_planned_check CHECK (
    (purpose IN ('notice', 'test', 'alert', 'digest', 'batch', 'relay')) = (rule IS NULL)
    AND (rule IS NULL AND purpose NOT IN ('digest', 'batch')) = (planned_for IS NULL)
    AND (rule IS NULL) = (visit_at IS NULL) AND (rule IS NULL OR record_id IS NOT NULL));
CREATE INDEX messages_of_batch ON messages (company_id, part_of) WHERE part_of IS NOT NULL;
-- One gathers at a time, until it is tried for the first time.
CREATE UNIQUE INDEX messages_batch_open ON messages (company_id, recipient)
  WHERE purpose = 'batch' AND state = 'due' AND attempts = 0;

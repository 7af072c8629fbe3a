-- Requests: what a client wants and only the salon can do, told to the salon's own people.
ALTER TABLE messages
  DROP CONSTRAINT messages_purpose_check,
  ADD CONSTRAINT messages_purpose_check CHECK (purpose IN
    ('notice', 'request', 'test', 'alert', 'digest', 'batch', 'relay', 'reminder', 'review', 'no_show', 'rebook')),
  DROP CONSTRAINT messages_planned_check,
  ADD CONSTRAINT messages_planned_check CHECK (
    (purpose IN ('notice', 'request', 'test', 'alert', 'digest', 'batch', 'relay')) = (rule IS NULL)
    AND (rule IS NULL AND purpose NOT IN ('digest', 'batch')) = (planned_for IS NULL)
    AND (rule IS NULL) = (visit_at IS NULL) AND (rule IS NULL OR record_id IS NOT NULL)),
  ADD CONSTRAINT messages_request_check
    CHECK (purpose <> 'request' OR (record_id IS NOT NULL AND kind IS NOT NULL AND told_after IS NOT NULL)
      OR recipient LIKE 'erased:%');

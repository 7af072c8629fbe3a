-- The way of a request through inbox and outbox, so that one id finds all of it.

-- request_id: as the proxy named the request, or the receiver; null: the event came by no request, its own id serves.
-- traceparent (W3C): the last span that dealt with it, the parent of the next; null: no traces are kept.
ALTER TABLE webhook_events ADD request_id text, ADD traceparent text;
-- Of the event that made the message say what it says; set when the message is claimed.
ALTER TABLE messages ADD request_id text, ADD traceparent text;

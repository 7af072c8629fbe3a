-- Clients whose plan may have changed, noted by the transaction that changed it. A queue of rows that are added and
-- taken away, never updated: who notes never waits for who plans. In the order of clients, so that all that concerns one
-- is found together and planned once.
CREATE TABLE plan_requests (
  company_id   integer     NOT NULL,
  client_id    bigint      NOT NULL,
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  requested_at timestamptz NOT NULL,
  PRIMARY KEY (company_id, client_id, id)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What the migrations make, for reading. Written by "npm run schema", compared by CI.

CREATE TABLE actions (
  company_id integer NOT NULL,
  id uuid NOT NULL,
  kind text NOT NULL,
  record_id bigint NOT NULL,
  message_id uuid NOT NULL,
  recipient text NOT NULL,
  channel text NOT NULL,
  chat text NOT NULL,
  state text DEFAULT 'due'::text NOT NULL,
  due_at timestamp with time zone NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  leased_by uuid,
  leased_until timestamp with time zone,
  reason text,
  created_at timestamp with time zone NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  link text,
  CONSTRAINT actions_pkey PRIMARY KEY (company_id, id),
  CONSTRAINT actions_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT actions_check CHECK (((state = 'doing'::text) = (leased_until IS NOT NULL))),
  CONSTRAINT actions_kind_check CHECK ((kind = ANY (ARRAY['confirm'::text, 'cancel'::text, 'move'::text]))),
  CONSTRAINT actions_link_check CHECK ((link ~ '^https?://'::text)),
  CONSTRAINT actions_state_check CHECK ((state = ANY (ARRAY['asked'::text, 'due'::text, 'doing'::text, 'done'::text, 'refused'::text, 'failed'::text])))
);

CREATE TABLE addresses (
  company_id integer NOT NULL,
  client_id bigint NOT NULL,
  channel text NOT NULL,
  address text NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT addresses_pkey PRIMARY KEY (company_id, client_id, channel),
  CONSTRAINT addresses_address_check CHECK ((address <> ''::text))
);

CREATE TABLE alert_watch (
  id boolean DEFAULT true NOT NULL,
  owner uuid NOT NULL,
  leased_until timestamp with time zone NOT NULL,
  CONSTRAINT alert_watch_pkey PRIMARY KEY (id),
  CONSTRAINT alert_watch_id_check CHECK (id)
);

CREATE TABLE alerts (
  kind text NOT NULL,
  subject text NOT NULL,
  label text DEFAULT ''::text NOT NULL,
  detail text DEFAULT ''::text NOT NULL,
  value double precision NOT NULL,
  since timestamp with time zone NOT NULL,
  raised_at timestamp with time zone,
  told_at timestamp with time zone,
  better_since timestamp with time zone,
  CONSTRAINT alerts_pkey PRIMARY KEY (kind, subject),
  CONSTRAINT alerts_check CHECK (((raised_at IS NULL) = (told_at IS NULL))),
  CONSTRAINT alerts_check1 CHECK (((better_since IS NULL) OR (raised_at IS NOT NULL)))
);

CREATE TABLE api_budget (
  scope text NOT NULL,
  next_slot_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  failures integer DEFAULT 0 NOT NULL,
  paused_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  paused_because text DEFAULT ''::text NOT NULL,
  queued_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  CONSTRAINT api_budget_pkey PRIMARY KEY (scope)
);

CREATE TABLE attempts (
  company_id integer NOT NULL,
  message_id uuid NOT NULL,
  number integer NOT NULL,
  channel text NOT NULL,
  started_at timestamp with time zone NOT NULL,
  finished_at timestamp with time zone NOT NULL,
  outcome text NOT NULL,
  reason text DEFAULT ''::text NOT NULL,
  provider_id text,
  scope text,
  address text,
  CONSTRAINT attempts_pkey PRIMARY KEY (company_id, message_id, number),
  CONSTRAINT attempts_company_id_message_id_fkey FOREIGN KEY (company_id, message_id) REFERENCES messages(company_id, id) ON DELETE CASCADE,
  CONSTRAINT attempts_outcome_check CHECK ((outcome = ANY (ARRAY['sent'::text, 'retry'::text, 'rejected'::text, 'unknown'::text])))
);

CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  company_id integer,
  subject text DEFAULT ''::text NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);

CREATE TABLE booking_changes (
  company_id integer NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  record_id bigint NOT NULL,
  event_id uuid NOT NULL,
  kind text NOT NULL,
  detail jsonb DEFAULT '{}'::jsonb NOT NULL,
  changed_at timestamp with time zone NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT booking_changes_pkey PRIMARY KEY (company_id, id)
);

CREATE TABLE bookings (
  company_id integer NOT NULL,
  record_id bigint NOT NULL,
  visit_id bigint,
  starts_local timestamp without time zone,
  starts_at timestamp with time zone,
  duration_seconds integer,
  staff_id bigint,
  staff_name text,
  services jsonb,
  client_id bigint,
  client_known boolean DEFAULT false NOT NULL,
  attendance smallint,
  deleted boolean,
  paid boolean,
  comment text,
  origin text,
  made_at timestamp with time zone,
  state text NOT NULL,
  version timestamp with time zone NOT NULL,
  field_versions jsonb DEFAULT '{}'::jsonb NOT NULL,
  told jsonb DEFAULT '{}'::jsonb NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  updated_at timestamp with time zone DEFAULT now() NOT NULL,
  found_version timestamp with time zone,
  doubt_until timestamp with time zone,
  attendance_said jsonb,
  CONSTRAINT bookings_pkey PRIMARY KEY (company_id, record_id),
  CONSTRAINT bookings_attendance_check CHECK ((attendance = ANY (ARRAY['-1'::integer, 0, 1, 2]))),
  CONSTRAINT bookings_check CHECK ((client_known OR (client_id IS NULL))),
  CONSTRAINT bookings_origin_check CHECK ((origin = ANY (ARRAY['bot'::text, 'widget'::text, 'app'::text, 'aggregator'::text, 'admin'::text, 'unknown'::text]))),
  CONSTRAINT bookings_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'confirmed'::text, 'arrived'::text, 'no_show'::text, 'cancelled'::text])))
);

CREATE TABLE chats (
  company_id integer NOT NULL,
  channel text NOT NULL,
  chat text NOT NULL,
  phone text,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT chats_pkey PRIMARY KEY (company_id, channel, chat),
  CONSTRAINT chats_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT chats_chat_check CHECK ((chat <> ''::text)),
  CONSTRAINT chats_phone_check CHECK ((phone <> ''::text))
);

CREATE TABLE companies (
  company_id integer NOT NULL,
  title text NOT NULL,
  zone text NOT NULL,
  brand text DEFAULT 'yclients'::text NOT NULL,
  locale text DEFAULT 'ru'::text NOT NULL,
  phone text DEFAULT ''::text NOT NULL,
  address text DEFAULT ''::text NOT NULL,
  route text[] DEFAULT '{console}'::text[] NOT NULL,
  webhook_url text,
  bot_api_prefix text,
  signature_required boolean DEFAULT false NOT NULL,
  removed_at timestamp with time zone,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  source text DEFAULT 'webhook'::text NOT NULL,
  verify text DEFAULT 'doubt'::text NOT NULL,
  sweep_ms integer DEFAULT 900000 NOT NULL,
  poll_ms integer DEFAULT 60000 NOT NULL,
  known_since timestamp with time zone DEFAULT now() NOT NULL,
  stopped_at timestamp with time zone,
  stopped_because text,
  quiet_until timestamp with time zone,
  invite text,
  CONSTRAINT companies_pkey PRIMARY KEY (company_id),
  CONSTRAINT companies_invite_key UNIQUE (invite),
  CONSTRAINT companies_brand_check CHECK ((brand = ANY (ARRAY['yclients'::text, 'altegio'::text]))),
  CONSTRAINT companies_check CHECK (((stopped_at IS NULL) = (stopped_because IS NULL))),
  CONSTRAINT companies_company_id_check CHECK ((company_id > 0)),
  CONSTRAINT companies_invite_check CHECK ((invite ~ '^[0-9a-z]{12}$'::text)),
  CONSTRAINT companies_locale_check CHECK ((locale = ANY (ARRAY['ru'::text, 'en'::text]))),
  CONSTRAINT companies_poll_ms_check CHECK (((poll_ms >= 10000) AND (poll_ms <= 86400000))),
  CONSTRAINT companies_route_check CHECK ((cardinality(route) > 0)),
  CONSTRAINT companies_source_check CHECK ((source = ANY (ARRAY['webhook'::text, 'poll'::text, 'both'::text]))),
  CONSTRAINT companies_stopped_because_check CHECK ((stopped_because = ANY (ARRAY['uninstall'::text, 'freeze'::text]))),
  CONSTRAINT companies_sweep_ms_check CHECK (((sweep_ms >= 60000) AND (sweep_ms <= 86400000))),
  CONSTRAINT companies_verify_check CHECK ((verify = ANY (ARRAY['always'::text, 'doubt'::text, 'never'::text])))
);

CREATE TABLE company_hours (
  company_id integer NOT NULL,
  hour timestamp with time zone NOT NULL,
  webhooks integer DEFAULT 0 NOT NULL,
  lag_ms_sum bigint DEFAULT 0 NOT NULL,
  lag_ms_max bigint DEFAULT 0 NOT NULL,
  missed integer DEFAULT 0 NOT NULL,
  late integer DEFAULT 0 NOT NULL,
  api_calls integer DEFAULT 0 NOT NULL,
  CONSTRAINT company_hours_pkey PRIMARY KEY (company_id, hour)
);

CREATE TABLE company_keys (
  company_id integer NOT NULL,
  key_hash bytea NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  expires_at timestamp with time zone,
  use text DEFAULT 'events'::text NOT NULL,
  CONSTRAINT company_keys_pkey PRIMARY KEY (company_id, key_hash),
  CONSTRAINT company_keys_key_hash_key UNIQUE (key_hash),
  CONSTRAINT company_keys_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT company_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
  CONSTRAINT company_keys_use_check CHECK ((use = ANY (ARRAY['events'::text, 'texts'::text])))
);

CREATE TABLE company_secrets (
  company_id integer NOT NULL,
  id uuid NOT NULL,
  purpose text NOT NULL,
  sealed bytea NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  expires_at timestamp with time zone,
  CONSTRAINT company_secrets_pkey PRIMARY KEY (company_id, id),
  CONSTRAINT company_secrets_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT company_secrets_purpose_check CHECK ((purpose = ANY (ARRAY['inbound'::text, 'outbound'::text, 'user'::text])))
);

CREATE TABLE consents (
  company_id integer NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  channel text NOT NULL,
  address text NOT NULL,
  category text NOT NULL,
  granted boolean NOT NULL,
  words text NOT NULL,
  given_at timestamp with time zone NOT NULL,
  client_id bigint,
  CONSTRAINT consents_pkey PRIMARY KEY (company_id, channel, address, category, id),
  CONSTRAINT consents_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT consents_address_check CHECK ((address <> ''::text)),
  CONSTRAINT consents_category_check CHECK ((category = ANY (ARRAY['service'::text, 'advertising'::text]))),
  CONSTRAINT consents_every_channel_check CHECK (((channel <> '*'::text) OR (address = '*'::text))),
  CONSTRAINT consents_wherever_check CHECK (((address <> '*'::text) OR (client_id IS NOT NULL)))
);

CREATE TABLE drift (
  kind text NOT NULL,
  path text NOT NULL,
  count bigint DEFAULT 0 NOT NULL,
  first_at timestamp with time zone NOT NULL,
  last_at timestamp with time zone NOT NULL,
  sample text DEFAULT ''::text NOT NULL,
  told_at timestamp with time zone,
  latest_day date DEFAULT '-infinity'::date NOT NULL,
  latest_count bigint DEFAULT 0 NOT NULL,
  before_count bigint DEFAULT 0 NOT NULL,
  CONSTRAINT drift_pkey PRIMARY KEY (kind, path),
  CONSTRAINT drift_kind_check CHECK ((kind = ANY (ARRAY['missing'::text, 'type'::text, 'enum'::text, 'resource'::text, 'status'::text])))
);

CREATE TABLE ears (
  channel text NOT NULL,
  account text NOT NULL,
  "position" bigint DEFAULT 0 NOT NULL,
  leased_by uuid,
  leased_until timestamp with time zone,
  CONSTRAINT ears_pkey PRIMARY KEY (channel, account)
);

CREATE TABLE entities (
  company_id integer NOT NULL,
  resource text NOT NULL,
  resource_id bigint NOT NULL,
  title text DEFAULT ''::text NOT NULL,
  data jsonb DEFAULT '{}'::jsonb NOT NULL,
  deleted boolean DEFAULT false NOT NULL,
  version timestamp with time zone NOT NULL,
  updated_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT entities_pkey PRIMARY KEY (company_id, resource, resource_id)
);

CREATE TABLE erased_people (
  company_id integer NOT NULL,
  client_hash bytea NOT NULL,
  erased_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT erased_people_pkey PRIMARY KEY (company_id, client_hash),
  CONSTRAINT erased_people_client_hash_check CHECK ((octet_length(client_hash) = 32))
);

CREATE TABLE heard (
  channel text NOT NULL,
  update_id text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  said jsonb,
  heard_at timestamp with time zone DEFAULT now() NOT NULL,
  error text,
  CONSTRAINT heard_pkey PRIMARY KEY (channel, update_id)
);

CREATE TABLE messages (
  company_id integer NOT NULL,
  id uuid NOT NULL,
  record_id bigint,
  purpose text NOT NULL,
  recipient text NOT NULL,
  step integer DEFAULT 1 NOT NULL,
  state text DEFAULT 'due'::text NOT NULL,
  due_at timestamp with time zone NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  kind text,
  told_before jsonb,
  told_after jsonb,
  channel text,
  subject text,
  body text,
  leased_by uuid,
  leased_until timestamp with time zone,
  uncertain boolean DEFAULT false NOT NULL,
  error text,
  provider_id text,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  updated_at timestamp with time zone DEFAULT now() NOT NULL,
  sent_at timestamp with time zone,
  rule text,
  planned_for timestamp with time zone,
  visit_at timestamp with time zone,
  visit jsonb,
  request_id text,
  traceparent text,
  fall_at timestamp with time zone,
  falls jsonb DEFAULT '[]'::jsonb NOT NULL,
  tries integer DEFAULT 0 NOT NULL,
  tried_since timestamp with time zone,
  part_of uuid,
  CONSTRAINT messages_pkey PRIMARY KEY (company_id, id),
  CONSTRAINT messages_alert_check CHECK ((((purpose = 'alert'::text) = (company_id = 0)) AND ((purpose <> 'alert'::text) OR ((channel IS NOT NULL) AND (body IS NOT NULL))))),
  CONSTRAINT messages_check CHECK (((state = 'sending'::text) = (leased_until IS NOT NULL))),
  CONSTRAINT messages_check1 CHECK (((purpose <> 'notice'::text) OR (record_id IS NOT NULL))),
  CONSTRAINT messages_planned_check CHECK ((((purpose = ANY (ARRAY['notice'::text, 'request'::text, 'test'::text, 'alert'::text, 'digest'::text, 'batch'::text, 'relay'::text])) = (rule IS NULL)) AND (((rule IS NULL) AND (purpose <> ALL (ARRAY['digest'::text, 'batch'::text]))) = (planned_for IS NULL)) AND ((rule IS NULL) = (visit_at IS NULL)) AND ((rule IS NULL) OR (record_id IS NOT NULL)))),
  CONSTRAINT messages_purpose_check CHECK ((purpose = ANY (ARRAY['notice'::text, 'request'::text, 'test'::text, 'alert'::text, 'digest'::text, 'batch'::text, 'relay'::text, 'reminder'::text, 'review'::text, 'no_show'::text, 'rebook'::text]))),
  CONSTRAINT messages_request_check CHECK (((purpose <> 'request'::text) OR ((record_id IS NOT NULL) AND (kind IS NOT NULL) AND (told_after IS NOT NULL)) OR (recipient ~~ 'erased:%'::text))),
  CONSTRAINT messages_state_check CHECK ((state = ANY (ARRAY['due'::text, 'sending'::text, 'sent'::text, 'delivered'::text, 'failed'::text, 'dead'::text, 'unknown'::text, 'superseded'::text, 'expired'::text, 'cancelled'::text]))),
  CONSTRAINT messages_step_check CHECK ((step > 0))
);

CREATE TABLE migrations (
  name text NOT NULL,
  applied_at timestamp with time zone DEFAULT now() NOT NULL,
  needs_stop boolean DEFAULT false NOT NULL,
  CONSTRAINT migrations_pkey PRIMARY KEY (name)
);

CREATE TABLE people (
  company_id integer NOT NULL,
  client_id bigint NOT NULL,
  name text DEFAULT ''::text NOT NULL,
  name_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  phone text DEFAULT ''::text NOT NULL,
  phone_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  email text DEFAULT ''::text NOT NULL,
  email_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  refuses boolean DEFAULT false NOT NULL,
  refuses_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  deleted boolean DEFAULT false NOT NULL,
  deleted_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  newsletter boolean DEFAULT false NOT NULL,
  newsletter_version timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  CONSTRAINT people_pkey PRIMARY KEY (company_id, client_id)
) WITH (fillfactor=80);

CREATE TABLE plan_requests (
  company_id integer NOT NULL,
  client_id bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  requested_at timestamp with time zone NOT NULL,
  CONSTRAINT plan_requests_pkey PRIMARY KEY (company_id, client_id, id)
) WITH (fillfactor=100, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000);

CREATE TABLE policies (
  company_id integer NOT NULL,
  version integer NOT NULL,
  document jsonb NOT NULL,
  actor text NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT policies_pkey PRIMARY KEY (company_id, version),
  CONSTRAINT policies_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT policies_document_check CHECK ((jsonb_typeof(document) = 'object'::text)),
  CONSTRAINT policies_version_check CHECK ((version > 0))
);

CREATE TABLE reached (
  company_id integer NOT NULL,
  recipient text NOT NULL,
  channel text NOT NULL,
  delivered_at timestamp with time zone,
  failed_at timestamp with time zone,
  day date,
  sent integer DEFAULT 0 NOT NULL,
  CONSTRAINT reached_pkey PRIMARY KEY (company_id, recipient, channel)
);

CREATE TABLE receipt_givers (
  company_id integer NOT NULL,
  channel text NOT NULL,
  provider text NOT NULL,
  first_at timestamp with time zone DEFAULT now() NOT NULL,
  last_at timestamp with time zone DEFAULT now() NOT NULL,
  silent integer DEFAULT 0 NOT NULL,
  CONSTRAINT receipt_givers_pkey PRIMARY KEY (company_id, channel, provider)
);

CREATE TABLE receipts (
  channel text NOT NULL,
  provider_id text NOT NULL,
  status text NOT NULL,
  reason text DEFAULT ''::text NOT NULL,
  happened_at timestamp with time zone,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT receipts_pkey PRIMARY KEY (channel, provider_id, status),
  CONSTRAINT receipts_provider_id_check CHECK ((provider_id <> ''::text)),
  CONSTRAINT receipts_status_check CHECK ((status = ANY (ARRAY['delivered'::text, 'read'::text, 'failed'::text])))
);

CREATE TABLE rejects (
  minute timestamp with time zone NOT NULL,
  cause text NOT NULL,
  count integer NOT NULL,
  CONSTRAINT rejects_pkey PRIMARY KEY (minute, cause)
);

CREATE TABLE relays (
  company_id integer NOT NULL,
  message_id uuid NOT NULL,
  digest bytea NOT NULL,
  their_id text NOT NULL,
  category text NOT NULL,
  asked text,
  accepted_at timestamp with time zone NOT NULL,
  told smallint,
  moves integer DEFAULT 0 NOT NULL,
  due_at timestamp with time zone,
  attempts integer DEFAULT 0 NOT NULL,
  reason text,
  leased_by uuid,
  leased_until timestamp with time zone,
  CONSTRAINT relays_pkey PRIMARY KEY (company_id, message_id),
  CONSTRAINT relays_company_id_digest_key UNIQUE (company_id, digest),
  CONSTRAINT relays_company_id_message_id_fkey FOREIGN KEY (company_id, message_id) REFERENCES messages(company_id, id) ON DELETE CASCADE,
  CONSTRAINT relays_category_check CHECK ((category = ANY (ARRAY['service'::text, 'advertising'::text]))),
  CONSTRAINT relays_digest_check CHECK ((octet_length(digest) = 32)),
  CONSTRAINT relays_their_id_check CHECK ((their_id <> ''::text)),
  CONSTRAINT relays_told_check CHECK ((told = ANY (ARRAY[1, 2, 4, 8, 16, 52])))
);

CREATE TABLE replans (
  company_id integer NOT NULL,
  after_client bigint DEFAULT 0 NOT NULL,
  ready_xid xid8,
  requested_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT replans_pkey PRIMARY KEY (company_id),
  CONSTRAINT replans_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE
);

CREATE TABLE rereads (
  company_id integer NOT NULL,
  record_id bigint NOT NULL,
  reason text NOT NULL,
  due_at timestamp with time zone NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  leased_by uuid,
  leased_until timestamp with time zone,
  CONSTRAINT rereads_pkey PRIMARY KEY (company_id, record_id),
  CONSTRAINT rereads_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE
);

CREATE TABLE settings (
  key text NOT NULL,
  value text NOT NULL,
  CONSTRAINT settings_pkey PRIMARY KEY (key)
);

CREATE TABLE shards (
  shard smallint NOT NULL,
  owner uuid,
  leased_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  CONSTRAINT shards_pkey PRIMARY KEY (shard),
  CONSTRAINT shards_shard_check CHECK (((shard >= 0) AND (shard <= 63)))
);

CREATE TABLE sweeps (
  company_id integer NOT NULL,
  kind text NOT NULL,
  due_at timestamp with time zone NOT NULL,
  watermark timestamp with time zone,
  cursor jsonb,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  last jsonb,
  failures integer DEFAULT 0 NOT NULL,
  error text,
  leased_by uuid,
  leased_until timestamp with time zone,
  CONSTRAINT sweeps_pkey PRIMARY KEY (company_id, kind),
  CONSTRAINT sweeps_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT sweeps_kind_check CHECK ((kind = ANY (ARRAY['baseline'::text, 'delta'::text, 'full'::text])))
);

CREATE TABLE team (
  company_id integer NOT NULL,
  member_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  role text NOT NULL,
  staff_id bigint,
  name text DEFAULT ''::text NOT NULL,
  channel text,
  address text,
  since timestamp with time zone,
  invite_hash bytea,
  invited_until timestamp with time zone,
  others jsonb DEFAULT '[]'::jsonb NOT NULL,
  CONSTRAINT team_pkey PRIMARY KEY (company_id, member_id),
  CONSTRAINT team_invite_hash_key UNIQUE (invite_hash),
  CONSTRAINT team_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT team_check CHECK (((role = 'staff'::text) = (staff_id IS NOT NULL))),
  CONSTRAINT team_check1 CHECK ((((channel IS NULL) = (since IS NULL)) AND ((address IS NULL) = (since IS NULL)))),
  CONSTRAINT team_check2 CHECK (((invite_hash IS NULL) = (invited_until IS NULL))),
  CONSTRAINT team_check3 CHECK (((since IS NOT NULL) OR (invite_hash IS NOT NULL))),
  CONSTRAINT team_invite_hash_check CHECK ((octet_length(invite_hash) = 32)),
  CONSTRAINT team_others_check CHECK (((jsonb_typeof(others) = 'array'::text) AND (jsonb_array_length(others) <= 3))),
  CONSTRAINT team_role_check CHECK ((role = ANY (ARRAY['staff'::text, 'administrator'::text]))),
  CONSTRAINT team_staff_id_check CHECK ((staff_id > 0))
);

CREATE TABLE templates (
  company_id integer NOT NULL,
  locale text NOT NULL,
  kind text NOT NULL,
  source text NOT NULL,
  updated_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT templates_pkey PRIMARY KEY (company_id, locale, kind),
  CONSTRAINT templates_company_id_fkey FOREIGN KEY (company_id) REFERENCES companies(company_id) ON DELETE CASCADE,
  CONSTRAINT templates_locale_check CHECK ((locale = ANY (ARRAY['ru'::text, 'en'::text]))),
  CONSTRAINT templates_source_check CHECK ((length(source) <= 20000))
);

CREATE TABLE webhook_events (
  id uuid NOT NULL,
  event_id character varying(255) NOT NULL,
  event_type character varying(50) NOT NULL,
  company_id integer NOT NULL,
  record_id bigint GENERATED ALWAYS AS (
CASE
    WHEN ((resource)::text = 'record'::text) THEN resource_id
    ELSE NULL::bigint
END) STORED,
  body json STORAGE EXTERNAL NOT NULL,
  processed_at timestamp with time zone,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  resource character varying(40) NOT NULL,
  resource_id bigint NOT NULL,
  status character varying(20) NOT NULL,
  source text NOT NULL,
  shard smallint GENERATED ALWAYS AS (((hashtextextended((((((company_id)::text || ':'::text) || (resource)::text) || ':'::text) || (resource_id)::text), (0)::bigint) & (63)::bigint))::smallint) STORED NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  state text DEFAULT 'pending'::text NOT NULL,
  effect text,
  attempts integer DEFAULT 0 NOT NULL,
  next_at timestamp with time zone,
  error text,
  raw bytea,
  request_id text,
  traceparent text,
  payload jsonb GENERATED ALWAYS AS ((body)::jsonb) VIRTUAL,
  CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_events_event_id_key UNIQUE (event_id),
  CONSTRAINT webhook_events_check CHECK (((state = 'waiting'::text) = (next_at IS NOT NULL))),
  CONSTRAINT webhook_events_check1 CHECK (((state = 'done'::text) = (processed_at IS NOT NULL))),
  CONSTRAINT webhook_events_source_check CHECK ((source = ANY (ARRAY['webhook'::text, 'reconcile'::text, 'verify'::text, 'replay'::text, 'test'::text]))),
  CONSTRAINT webhook_events_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'waiting'::text, 'done'::text, 'dead'::text, 'quarantined'::text])))
);

CREATE TABLE workers (
  id uuid NOT NULL,
  alive_until timestamp with time zone NOT NULL,
  CONSTRAINT workers_pkey PRIMARY KEY (id)
);


CREATE INDEX actions_asked ON public.actions USING btree (channel, chat) WHERE (state = 'asked'::text);
CREATE INDEX actions_of_message ON public.actions USING btree (company_id, message_id);
CREATE UNIQUE INDEX actions_once ON public.actions USING btree (company_id, record_id, kind) WHERE (state = ANY (ARRAY['due'::text, 'doing'::text]));
CREATE INDEX actions_open ON public.actions USING btree (due_at) WHERE (state = ANY (ARRAY['due'::text, 'doing'::text]));
CREATE INDEX attempts_by_provider_id ON public.attempts USING btree (channel, provider_id) WHERE (provider_id IS NOT NULL);
CREATE INDEX attempts_finished_at ON public.attempts USING brin (finished_at) WITH (autosummarize='true');
CREATE INDEX booking_changes_created_at ON public.booking_changes USING brin (created_at) WITH (autosummarize='true');
CREATE INDEX booking_changes_of_record ON public.booking_changes USING btree (company_id, record_id, id);
CREATE INDEX bookings_by_start ON public.bookings USING btree (company_id, starts_at);
CREATE INDEX bookings_of_client ON public.bookings USING btree (company_id, client_id, starts_at);
CREATE INDEX chats_of_chat ON public.chats USING btree (channel, chat);
CREATE INDEX chats_of_phone ON public.chats USING btree (company_id, phone) WHERE (phone IS NOT NULL);
CREATE INDEX consents_of_client ON public.consents USING btree (company_id, client_id, category, id) WHERE (client_id IS NOT NULL);
CREATE INDEX heard_aside ON public.heard USING btree (channel) WHERE (error IS NOT NULL);
CREATE INDEX heard_new ON public.heard USING btree (channel, id) WHERE (said IS NOT NULL);
CREATE UNIQUE INDEX messages_alert_once ON public.messages USING btree (step, channel) WHERE (purpose = 'alert'::text);
CREATE UNIQUE INDEX messages_batch_open ON public.messages USING btree (company_id, recipient) WHERE ((purpose = 'batch'::text) AND (state = 'due'::text) AND (attempts = 0));
CREATE INDEX messages_by_time ON public.messages USING btree (company_id, created_at);
CREATE INDEX messages_created_at ON public.messages USING brin (created_at) WITH (autosummarize='true');
CREATE INDEX messages_dead ON public.messages USING btree (updated_at) WHERE (state = 'dead'::text);
CREATE UNIQUE INDEX messages_digest_once ON public.messages USING btree (company_id, recipient, step) WHERE (purpose = 'digest'::text);
CREATE INDEX messages_due ON public.messages USING btree (due_at) WHERE (state = 'due'::text);
CREATE INDEX messages_falling ON public.messages USING btree (fall_at) WHERE ((state = 'sent'::text) AND (fall_at IS NOT NULL));
CREATE INDEX messages_of_batch ON public.messages USING btree (company_id, part_of) WHERE (part_of IS NOT NULL);
CREATE INDEX messages_of_recipient ON public.messages USING btree (company_id, recipient, visit_at) WHERE (rule IS NOT NULL);
CREATE INDEX messages_of_record ON public.messages USING btree (company_id, record_id);
CREATE UNIQUE INDEX messages_once ON public.messages USING btree (company_id, record_id, purpose, recipient, step) WHERE ((purpose = 'notice'::text) AND (state = ANY (ARRAY['due'::text, 'sending'::text, 'sent'::text, 'delivered'::text, 'unknown'::text])));
CREATE UNIQUE INDEX messages_planned_once ON public.messages USING btree (company_id, record_id, rule, recipient, visit_at) WHERE ((rule IS NOT NULL) AND (state = ANY (ARRAY['due'::text, 'sending'::text, 'sent'::text, 'delivered'::text, 'unknown'::text])));
CREATE INDEX messages_relayed_to ON public.messages USING btree (company_id, recipient) WHERE (purpose = 'relay'::text);
CREATE INDEX messages_sending ON public.messages USING btree (leased_until) WHERE (state = 'sending'::text);
CREATE INDEX people_of_phone ON public.people USING btree (company_id, phone) WHERE (phone <> ''::text);
CREATE INDEX receipts_by_time ON public.receipts USING btree (created_at);
CREATE INDEX relays_by_time ON public.relays USING btree (company_id, accepted_at);
CREATE INDEX relays_due ON public.relays USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX rereads_due ON public.rereads USING btree (due_at);
CREATE INDEX sweeps_due ON public.sweeps USING btree (due_at);
CREATE INDEX team_of_address ON public.team USING btree (channel, address);
CREATE UNIQUE INDEX team_of_administrators ON public.team USING btree (company_id, channel, address) WHERE (role = 'administrator'::text);
CREATE INDEX team_of_others ON public.team USING gin (others jsonb_path_ops);
CREATE UNIQUE INDEX team_of_staff ON public.team USING btree (company_id, staff_id) WHERE (role = 'staff'::text);
CREATE INDEX webhook_events_created_at ON public.webhook_events USING brin (created_at) WITH (autosummarize='true');
CREATE INDEX webhook_events_of_company ON public.webhook_events USING btree (company_id, id);
CREATE INDEX webhook_events_pending ON public.webhook_events USING btree (shard, seq) WHERE (state = 'pending'::text);
CREATE INDEX webhook_events_troubled ON public.webhook_events USING btree (company_id, id) WHERE (state = ANY (ARRAY['dead'::text, 'quarantined'::text]));
CREATE INDEX webhook_events_waiting ON public.webhook_events USING btree (company_id, resource, resource_id, seq) WHERE (state = 'waiting'::text);

CREATE OR REPLACE FUNCTION public.relay_moved()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  UPDATE relays SET moves = moves + 1, due_at = least(due_at, now())
  WHERE company_id = NEW.company_id AND message_id = NEW.id;
  RETURN NULL;
END $function$;

CREATE TRIGGER relay_moved AFTER UPDATE OF state ON public.messages FOR EACH ROW WHEN (((new.purpose = 'relay'::text) AND (new.state IS DISTINCT FROM old.state))) EXECUTE FUNCTION relay_moved();

-- Routes: where a channel cannot take a message, is refused, or is not confirmed by a receipt in time, the next one of
-- the person's route takes it. It is one message all the while, so that it is one telling.
--
--   sent ──fall_at──▶ sending ──▶ sent …     by the next channel; by none twice
--    └──receipt, of whichever step──▶ delivered
ALTER TABLE messages
  -- When the next step is due, of a message that was taken by a channel; null: none is awaited.
  ADD fall_at timestamptz,
  -- Channels that were left or passed over, in order: {channel, why, at, detail}.
  ADD falls jsonb NOT NULL DEFAULT '[]',
  -- How often the present channel was tried, and since when.
  ADD tries integer NOT NULL DEFAULT 0,
  ADD tried_since timestamptz;
CREATE INDEX messages_falling ON messages (fall_at) WHERE state = 'sent' AND fall_at IS NOT NULL;

-- Who tells what became of a company's messages. A provider that has told nothing yet, or nothing of the last so many
-- messages, is not taken for a person who is not reached: its receipts may have no way to us.
CREATE TABLE receipt_givers (
  company_id integer NOT NULL,
  channel text NOT NULL,
  provider text NOT NULL,
  first_at timestamptz NOT NULL DEFAULT now(),
  last_at timestamptz NOT NULL DEFAULT now(),
  -- Messages in a row of which it told nothing in time.
  silent integer NOT NULL DEFAULT 0,
  PRIMARY KEY (company_id, channel, provider)
);

-- What is remembered of one recipient on one channel: whether they were reached there, and what it cost them today.
CREATE TABLE reached (
  company_id integer NOT NULL,
  recipient text NOT NULL,
  channel text NOT NULL,
  delivered_at timestamptz,
  failed_at timestamptz,
  -- A day of the salon, and the messages sent to them on it; counted of SMS only.
  day date,
  sent integer NOT NULL DEFAULT 0,
  PRIMARY KEY (company_id, recipient, channel)
);

-- Whose word it was, where that was known: a refusal holds for the person as well as for the place, so that it outlasts a
-- change of their number or address. Null: of whoever is behind the address, the phone of which may be nobody's yet.
-- An address '*' is that of a client wherever they are reached, a channel '*' every channel.
ALTER TABLE consents ADD client_id bigint,
  ADD CONSTRAINT consents_wherever_check CHECK (address <> '*' OR client_id IS NOT NULL),
  ADD CONSTRAINT consents_every_channel_check CHECK (channel <> '*' OR address = '*');
CREATE INDEX consents_of_client ON consents (company_id, client_id, category, id) WHERE client_id IS NOT NULL;
-- Mail addresses are compared without regard to case, and kept so.
UPDATE consents SET address = lower(address) WHERE channel = 'email' AND address <> lower(address);

-- Of an e-mail, where it went: the link in it ends messages to that address, whatever the card has by then.
ALTER TABLE attempts ADD address text;

-- Who answers a text of the platform may be no client: their number is known by the text alone.
CREATE INDEX messages_relayed_to ON messages (company_id, recipient) WHERE purpose = 'relay';

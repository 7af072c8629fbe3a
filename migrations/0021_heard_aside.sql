-- What somebody sent to a bot and what could not be understood is kept with the reason, and holds up nothing that came
-- after it. Rows with an error are also of messengers that we ask.
ALTER TABLE heard ADD error text;
CREATE INDEX heard_aside ON heard (channel) WHERE error IS NOT NULL;

-- Where else one of the team is told when the first place fails, in their order: [{"channel": "sms", "address": "+7…"}].
ALTER TABLE team ADD others jsonb NOT NULL DEFAULT '[]'
  CHECK (jsonb_typeof(others) = 'array' AND jsonb_array_length(others) <= 3);
CREATE INDEX team_of_others ON team USING gin (others jsonb_path_ops);

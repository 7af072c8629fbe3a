-- How often the format was odd lately, so that one odd body is told from a change of the wire.
ALTER TABLE drift
  -- Of UTC.
  ADD latest_day date NOT NULL DEFAULT '-infinity',
  ADD latest_count bigint NOT NULL DEFAULT 0,
  -- Of the day before that one.
  ADD before_count bigint NOT NULL DEFAULT 0;

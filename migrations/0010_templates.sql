-- Texts that a company has of its own, in place of those that come with the project.

CREATE TABLE templates (
  company_id integer NOT NULL REFERENCES companies ON DELETE CASCADE,
  locale text NOT NULL CHECK (locale IN ('ru', 'en')),
  kind text NOT NULL,
  source text NOT NULL CHECK (length(source) <= 20000),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, locale, kind)
);

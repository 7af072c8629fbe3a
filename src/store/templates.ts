/** Texts that companies have of their own. One function is one statement. */
import type { Locale } from '../domain/locale.ts';
import type { TextKind } from '../domain/text.ts';
import { int4Array } from './binary.ts';
import type { Db } from './pool.ts';

export type OwnTemplate = {
  readonly companyId: number;
  readonly locale: Locale;
  readonly kind: TextKind;
  readonly source: string;
};

type Key = Omit<OwnTemplate, 'source'>;

export function templateKey({ companyId, locale, kind }: Key): string {
  return `${companyId}:${locale}/${kind}`;
}

/** All of these companies', or of all companies, in their order. */
export async function findTemplates(db: Db, companyIds?: readonly number[]): Promise<OwnTemplate[]> {
  const { rows } = await db.query<OwnTemplate>({
    name: 'find_templates',
    text: `
      SELECT company_id AS "companyId", locale, kind, source FROM templates
      WHERE $1::int4[] IS NULL OR company_id = ANY ($1) ORDER BY company_id, locale, kind`,
    values: [companyIds === undefined ? null : int4Array(companyIds)],
  });
  return rows;
}

export async function saveTemplate(db: Db, { companyId, locale, kind, source }: OwnTemplate): Promise<void> {
  await db.query(
    `INSERT INTO templates (company_id, locale, kind, source) VALUES ($1, $2, $3, $4)
     ON CONFLICT (company_id, locale, kind) DO UPDATE SET source = EXCLUDED.source, updated_at = now()`,
    [companyId, locale, kind, source],
  );
}

/** False: the company had none of its own. */
export async function dropTemplate(db: Db, { companyId, locale, kind }: Key): Promise<boolean> {
  const { rowCount } = await db.query(
    'DELETE FROM templates WHERE company_id = $1 AND locale = $2 AND kind = $3',
    [companyId, locale, kind],
  );
  return rowCount === 1;
}

/** Policies, every version of them. What a document means is `src/domain/policy.ts`'s. */
import type { PolicyDocument } from '../domain/policy.ts';
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

export type PolicyVersion = {
  readonly version: number;
  readonly document: PolicyDocument;
  readonly actor: string;
  readonly createdAt: EpochMs;
};

/** Newest first; those before the version `before` where it is given, however large a number that is. */
export async function listPolicies(
  db: Db,
  companyId: number,
  { limit, before }: { readonly limit: number; readonly before?: number | undefined },
): Promise<PolicyVersion[]> {
  const { rows } = await db.query<PolicyVersion>(
    `SELECT version, document, actor, created_at AS "createdAt" FROM policies
     WHERE company_id = $1 AND ($3::bigint IS NULL OR version < $3) ORDER BY version DESC LIMIT $2`,
    [companyId, limit, before ?? null],
  );
  return rows;
}

/** One version's document; undefined: there is no such version, not even where the number is larger than any can be. */
export async function findPolicy(
  db: Db,
  companyId: number,
  version: number,
): Promise<PolicyDocument | undefined> {
  const { rows } = await db.query<{ document: PolicyDocument }>(
    'SELECT document FROM policies WHERE company_id = $1 AND version = $2::bigint',
    [companyId, version],
  );
  return rows[0]?.document;
}

/** Adds the next version and returns its number. The caller holds the company's row locked. */
export async function appendPolicy(
  db: Db,
  policy: { readonly companyId: number; readonly document: PolicyDocument; readonly actor: string },
): Promise<number> {
  const { rows } = await db.query<{ version: number }>(
    `INSERT INTO policies (company_id, version, document, actor)
     SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM policies WHERE company_id = $1
     RETURNING version`,
    [policy.companyId, JSON.stringify(policy.document), policy.actor],
  );
  return rows[0]?.version ?? 0;
}

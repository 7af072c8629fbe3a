/** What an operator does with a company's policy, by command or API. */

import { completePolicy, type PolicyDocument } from '../domain/policy.ts';
import { checkPolicy, type PolicyFault } from '../domain/policy-document.ts';
import type { EpochMs } from '../domain/time.ts';
import { MissingError, PlainError } from '../log.ts';
import { audit, lockStanding } from '../store/companies.ts';
import { requestReplan } from '../store/plans.ts';
import { appendPolicy, findPolicy, listPolicies, type PolicyVersion } from '../store/policies.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { requireCompany } from './companies.ts';

export type PolicyDeps = { readonly pool: Pool; readonly actor: 'command' | 'api' };

export type ShownPolicy = {
  readonly companyId: number;
  /** 0: it was never written, and is the default. */
  readonly version: number;
  /** What the salon wrote. */
  readonly document: PolicyDocument;
  /** The same with everything it left out. */
  readonly effective: PolicyDocument;
  /** The last twenty; `listVersions` has all. */
  readonly versions: readonly ShownVersion[];
};

export type ShownVersion = { readonly version: number; readonly actor: string; readonly at: string };

const VERSIONS_SHOWN = 20;

/** The newest version, which is the one in force; with `number` that one, as it was written. */
export async function showPolicy(db: Db, companyId: number, number?: number): Promise<ShownPolicy> {
  await requireCompany(db, companyId);
  const versions = await listPolicies(db, companyId, { limit: VERSIONS_SHOWN });
  const newest = versions[0]?.version ?? 0;
  const document =
    number === undefined ? (versions[0]?.document ?? {}) : await findVersion(db, companyId, number, newest);
  return {
    companyId,
    version: number ?? newest,
    document,
    effective: completePolicy(document),
    versions: versions.map(shownVersion),
  };
}

/** A page of versions, newest first: those before `cursor`, which is the `next` of the page before it. */
export async function listVersions(
  db: Db,
  companyId: number,
  { limit, cursor }: { readonly limit: number; readonly cursor?: number | undefined },
): Promise<{ readonly items: readonly ShownVersion[]; readonly next: number | null }> {
  await requireCompany(db, companyId);
  const rows = await listPolicies(db, companyId, { limit: limit + 1, before: cursor });
  const items = rows.slice(0, limit).map(shownVersion);
  return { items, next: rows.length > limit ? (items.at(-1)?.version ?? null) : null };
}

function shownVersion({ version, actor, createdAt }: PolicyVersion): ShownVersion {
  return { version, actor, at: isoOf(createdAt) };
}

/** Version 0 is the default, before anything was written. */
async function findVersion(
  db: Db,
  companyId: number,
  version: number,
  newest: number,
): Promise<PolicyDocument> {
  const document = version === 0 ? {} : await findPolicy(db, companyId, version);
  if (document !== undefined) return document;
  throw new MissingError(
    `the policy of company ${companyId} has no version ${version}; the newest is ${newest}, \`policy versions\` lists them`,
  );
}

function isoOf(moment: EpochMs): string {
  return new Date(moment).toISOString();
}

/**
 * Puts a whole document in the place of the one there is; `{}` is the default. With `ifVersion` only in the place of
 * that version: who wrote it after reading it overwrites nobody.
 */
export async function setPolicy(
  { pool, actor }: PolicyDeps,
  companyId: number,
  value: unknown,
  { ifVersion }: { readonly ifVersion?: number | undefined } = {},
): Promise<ShownPolicy> {
  const document = soundPolicy(value);
  return transaction(pool, async db => {
    await lockStanding(db, companyId);
    await requireCompany(db, companyId);
    const [latest] = ifVersion === undefined ? [] : await listPolicies(db, companyId, { limit: 1 });
    if (ifVersion !== undefined && (latest?.version ?? 0) !== ifVersion) {
      throw new PlainError(
        `the policy of company ${companyId} is version ${latest?.version ?? 0} by now, not ${ifVersion}: read it again and repeat your change`,
      );
    }
    const version = await appendPolicy(db, { companyId, document, actor });
    await requestReplan(db, companyId);
    await audit(db, { actor, action: 'policy.set', companyId, subject: `version ${version}` });
    return showPolicy(db, companyId);
  });
}

/** Writes an old version once more, as the newest. One that is not sound by the rules of today is refused with its faults. */
export async function restorePolicy(
  deps: PolicyDeps,
  companyId: number,
  version: number,
  options: { readonly ifVersion?: number | undefined } = {},
): Promise<ShownPolicy> {
  const { document } = await showPolicy(deps.pool, companyId, version);
  const checked = checkPolicy(document);
  if ('faults' in checked) {
    throw new PolicyError(
      checked.faults,
      `version ${version} is not valid any more, set a corrected copy of it`,
    );
  }
  return setPolicy(deps, companyId, document, options);
}

/** A document that was refused: each fault with its path, for people in the message and for machines beside it. */
export class PolicyError extends PlainError {
  override readonly name = 'PolicyError';
  readonly faults: readonly PolicyFault[];
  constructor(faults: readonly PolicyFault[], refusal = 'the policy is refused') {
    super(`${refusal}:\n${faults.map(({ path, says }) => `  ${path} ${says}`).join('\n')}`);
    this.faults = faults;
  }
}

export function soundPolicy(value: unknown): PolicyDocument {
  const checked = checkPolicy(value);
  if ('faults' in checked) throw new PolicyError(checked.faults);
  return checked.document;
}

/** What an operator does with a company, by command or API: one transaction each, with its line in the audit log. */
import { newId } from '../ids.ts';
import { MissingError, PlainError } from '../log.ts';
import { rezoneBookings } from '../store/bookings.ts';
import {
  addKey,
  addSecret,
  audit,
  type Company,
  dropKey,
  dropKeys,
  dropSecrets,
  findCompanies,
  insertCompany,
  lockStanding,
  type NewCompany,
  putKey,
  type Reading,
  removeCompany,
  resumeCompany,
  type Settings,
  setReading,
  setSettings,
  settleKey,
} from '../store/companies.ts';
import { requestReplan } from '../store/plans.ts';
import { type Db, type Pool, transaction } from '../store/pool.ts';
import { forgetSweeps, hastenSweeps } from '../store/sweeps.ts';
import { newSigningSecret, newUrlKey, type Vault } from '../vault.ts';

/** How long the old key of a webhook URL goes on working after a rotation. */
const KEY_GRACE_MS = 24 * 60 * 60_000;

export type OperatorDeps = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly actor: 'command' | 'api' | 'marketplace';
};

/** Shown once: only hashes and sealed copies are kept. */
export type AddedCompany = {
  readonly companyId: number;
  readonly key: string;
  /** With which senders may sign, where asked for. */
  readonly inboundSecret?: string;
  /** With which our webhook channel signs, where the company has one. */
  readonly outboundSecret?: string;
};

export async function addCompany(
  { pool, vault, actor }: OperatorDeps,
  company: NewCompany,
  userToken?: string,
): Promise<AddedCompany> {
  requireWebhookUrl(company);
  const key = newUrlKey();
  return transaction(pool, async db => {
    const before = await lockStanding(db, company.companyId);
    if (!(await insertCompany(db, company))) {
      throw new PlainError(
        `company ${company.companyId} is there already; a new URL is made by \`company rotate-key\``,
      );
    }
    await addKey(db, company.companyId, vault.hashKey(key), 0);
    await forgetSweeps(db, company.companyId);
    // Its bookings are here, by the zone and for the policy that it had.
    if (before !== undefined) await requestReplan(db, company.companyId);
    if (userToken !== undefined) await keepUserToken(db, vault, company.companyId, userToken);
    const inbound = company.signatureRequired
      ? await newSecret(db, vault, company.companyId, 'inbound')
      : undefined;
    const outbound = company.webhookUrl
      ? await newSecret(db, vault, company.companyId, 'outbound')
      : undefined;
    await audit(db, { actor, action: 'company.add', companyId: company.companyId });
    return {
      companyId: company.companyId,
      key,
      ...(inbound === undefined ? {} : { inboundSecret: inbound }),
      ...(outbound === undefined ? {} : { outboundSecret: outbound }),
    };
  });
}

async function newSecret(
  db: Db,
  vault: Vault,
  companyId: number,
  purpose: 'inbound' | 'outbound',
): Promise<string> {
  const secret = newSigningSecret();
  await addSecret(db, {
    companyId,
    id: newId(),
    purpose,
    sealed: vault.seal(secret),
    graceMs: KEY_GRACE_MS,
  });
  return secret;
}

/** A new user token replaces the old one at once: only one of them is right. */
async function keepUserToken(db: Db, vault: Vault, companyId: number, userToken: string): Promise<void> {
  const sealed = vault.seal(userToken);
  await addSecret(db, { companyId, id: newId(), purpose: 'user', sealed, graceMs: 0 });
}

export type CompanyChange = Partial<Reading & Settings> & {
  /** Stands in place of the one for all; null takes it away. */
  readonly userToken?: string | null;
};

/** The company as it is now; with the secret that our webhook channel signs with, where it had none. */
export type ChangedCompany = Company & { readonly outboundSecret?: string };

/**
 * Changes a company: how its changes are read, which is tried at once, and how its clients are reached and spoken to, for
 * which they are planned anew.
 */
export async function setCompany(
  { pool, vault, actor }: OperatorDeps,
  companyId: number,
  { userToken, ...change }: CompanyChange,
): Promise<ChangedCompany> {
  return transaction(pool, async db => {
    await lockStanding(db, companyId);
    const before = await requireCompany(db, companyId);
    await setReading(db, companyId, change);
    await setSettings(db, companyId, change);
    const company = await requireCompany(db, companyId);
    const isRerouted = change.route !== undefined || change.webhookUrl !== undefined;
    if (isRerouted) requireWebhookUrl(company);
    const isFirstUrl = before.webhookUrl === null && company.webhookUrl !== null;
    const outboundSecret = isFirstUrl ? await newSecret(db, vault, companyId, 'outbound') : undefined;
    if (company.zone !== before.zone) await rezoneBookings(db, companyId, company.zone);
    if (company.zone !== before.zone || company.route.join() !== before.route.join()) {
      await requestReplan(db, companyId);
    }
    if (userToken === null) await dropSecrets(db, companyId, 'user');
    else if (userToken !== undefined) await keepUserToken(db, vault, companyId, userToken);
    await hastenSweeps(db, companyId, Date.now());
    const token = userToken === undefined ? [] : [userToken === null ? 'userToken removed' : 'userToken'];
    const names = [...Object.keys(change), ...token];
    await audit(db, { actor, action: 'company.set', companyId, subject: names.join(',') });
    return { ...company, ...(outboundSecret === undefined ? {} : { outboundSecret }) };
  });
}

/** A new URL key; the old one goes on working for a day. */
export async function rotateKey({ pool, vault, actor }: OperatorDeps, companyId: number): Promise<string> {
  const key = newUrlKey();
  await transaction(pool, async db => {
    // Of two that come at once the second sees the key of the first, and ends it.
    await lockStanding(db, companyId);
    await requireCompany(db, companyId);
    await addKey(db, companyId, vault.hashKey(key), KEY_GRACE_MS);
    await audit(db, { actor, action: 'company.rotate_key', companyId });
  });
  return key;
}

/**
 * An address for the company's texts: we are its SMS operator from then on. Where there is one already this is a new
 * one, and the old one goes on working for a day.
 */
export async function openTexts({ pool, vault, actor }: OperatorDeps, companyId: number): Promise<string> {
  const key = newUrlKey();
  await transaction(pool, async db => {
    await lockStanding(db, companyId);
    await requireCompany(db, companyId);
    await addKey(db, companyId, vault.hashKey(key), KEY_GRACE_MS, 'texts');
    await audit(db, { actor, action: 'company.operator_key', companyId });
  });
  return key;
}

/** Takes no texts of the company any more; those that were taken still leave. False: it took none. */
export async function closeTexts({ pool, actor }: OperatorDeps, companyId: number): Promise<boolean> {
  return transaction(pool, async db => {
    await requireCompany(db, companyId);
    const closed = await dropKeys(db, companyId, 'texts');
    if (closed) await audit(db, { actor, action: 'company.operator_off', companyId });
    return closed;
  });
}

/**
 * A new URL key that is not with the platform yet. The keys before it stay as they are: they end only when
 * `confirmKey` says that the platform has the new one, else a failed registration would kill the URL in use a day later.
 */
export async function proposeKey({ pool, vault, actor }: OperatorDeps, companyId: number): Promise<string> {
  const key = newUrlKey();
  await transaction(pool, async db => {
    await requireCompany(db, companyId);
    await putKey(db, companyId, vault.hashKey(key));
    await audit(db, { actor, action: 'company.propose_key', companyId });
  });
  return key;
}

/** The platform has the key: those before it go on working for a day. */
export async function confirmKey(
  { pool, vault }: Pick<OperatorDeps, 'pool' | 'vault'>,
  companyId: number,
  key: string,
): Promise<void> {
  await settleKey(pool, companyId, vault.hashKey(key), KEY_GRACE_MS);
}

/** The platform does certainly not have the key. */
export async function withdrawKey(
  { pool, vault }: Pick<OperatorDeps, 'pool' | 'vault'>,
  companyId: number,
  key: string,
): Promise<void> {
  await dropKey(pool, companyId, vault.hashKey(key));
}

export async function rotateSecret(
  { pool, vault, actor }: OperatorDeps,
  companyId: number,
  purpose: 'inbound' | 'outbound',
): Promise<string> {
  return transaction(pool, async db => {
    await lockStanding(db, companyId);
    await requireCompany(db, companyId);
    const secret = await newSecret(db, vault, companyId, purpose);
    await audit(db, { actor, action: `company.rotate_secret.${purpose}`, companyId });
    return secret;
  });
}

export async function dropCompany({ pool, actor }: OperatorDeps, companyId: number): Promise<void> {
  await transaction(pool, async db => {
    await requireCompany(db, companyId);
    if (!(await removeCompany(db, companyId))) throw noCompany(companyId);
    await audit(db, { actor, action: 'company.remove', companyId });
  });
}

/** A company that the platform stopped works again: where it thawed, or is connected without the marketplace. */
export async function resume({ pool, actor }: OperatorDeps, companyId: number): Promise<boolean> {
  return transaction(pool, async db => {
    await lockStanding(db, companyId);
    const { stopped } = await requireCompany(db, companyId);
    if (!stopped) return false;
    await resumeCompany(db, companyId);
    await requestReplan(db, companyId);
    await audit(db, { actor, action: 'company.resume', companyId });
    return true;
  });
}

/** A route by which nothing would ever leave is refused while somebody looks. */
function requireWebhookUrl({
  companyId,
  route,
  webhookUrl,
}: Pick<Company, 'companyId' | 'route' | 'webhookUrl'>): void {
  if (!route.includes('webhook') || webhookUrl !== null) return;
  throw new PlainError(
    `the route of company ${companyId} names webhook, and it has no webhook URL: name one as well`,
  );
}

export async function requireCompany(db: Db, companyId: number): Promise<Company> {
  const company = await requireEverCompany(db, companyId);
  if (company.removed) {
    throw new MissingError(
      `company ${companyId} was removed; \`company add ${companyId} …\` takes it up again`,
    );
  }
  return company;
}

/** Also one that was removed: its data is kept, and somebody may ask for theirs. */
export async function requireEverCompany(db: Db, companyId: number): Promise<Company> {
  const company = (await findCompanies(db, [companyId])).get(companyId);
  if (company === undefined) throw noCompany(companyId);
  return company;
}

function noCompany(companyId: number): MissingError {
  return new MissingError(`there is no company ${companyId}; \`company list\` shows those there are`);
}

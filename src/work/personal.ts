/**
 * Links by which a salon brings one client into a chat, for messengers that vouch for no number and for clients who
 * would not share theirs. Whoever opens one is written to as that client of that salon, and of no other; so it is for
 * them alone, and good for a week.
 */
import { timingSafeEqual } from 'node:crypto';
import { readPersonalInvite, writePersonalInvite } from '../domain/answer.ts';
import type { EpochMs } from '../domain/time.ts';
import { type ChatCompany, type ChatKey, openChat } from '../store/chats.ts';
import { saveAddress } from '../store/companies.ts';
import type { Db } from '../store/pool.ts';
import type { Vault } from '../vault.ts';

const GOOD_DAYS = 7;
const DAY_MS = 86_400_000;

type Prover = Pick<Vault, 'proveInvite'>;

export function personalInvite(
  { proveInvite }: Prover,
  client: { readonly companyId: number; readonly clientId: number },
  now: EpochMs,
): { readonly invite: string; readonly goodUntil: EpochMs } {
  const day = Math.floor(now / DAY_MS) + GOOD_DAYS;
  const proof = proveInvite(client.companyId, client.clientId, day);
  return { invite: writePersonalInvite({ ...client, day, proof }), goodUntil: (day + 1) * DAY_MS };
}

/** Makes the chat the address of the client whose invite this is. Undefined: it is none, or too old. */
export async function acceptInvite(
  db: Db,
  key: ChatKey,
  text: string,
  { vault, now }: { readonly vault: Prover; readonly now: EpochMs },
): Promise<ChatCompany | undefined> {
  const invite = readPersonalInvite(text);
  if (invite === undefined || invite.day < Math.floor(now / DAY_MS)) return undefined;
  const { companyId, clientId, day, proof } = invite;
  if (!timingSafeEqual(Buffer.from(vault.proveInvite(companyId, clientId, day)), Buffer.from(proof)))
    return undefined;
  const company = await openChat(db, key, { companyId });
  if (company === undefined) return undefined;
  await saveAddress(db, { companyId, clientId, channel: key.channel, address: key.chat });
  return { ...company, linked: true };
}

/**
 * Who calls. `Authorization: Bearer <partner token>, User <user token>`; a call that needs a person of the salon and
 * has only the partner's half is answered 403, while those of the booking form work: the classic bug of pollers.
 */
import type { Brand } from '../cast.ts';
import { Refusal } from './answers.ts';

/** `partner`: the application alone will do. Others also need a user who has that right in the company. */
export type Right = 'records' | 'clients' | 'settings';
export type Needs = 'partner' | Right;

export type User = {
  /** The companies in which the user has rights. */
  readonly companies: 'all' | readonly number[];
  /** What the user may not do there; nothing unless told. */
  readonly lacks?: readonly Right[];
};

const ACCEPT: Readonly<Record<Brand, string>> = {
  yclients: 'application/vnd.yclients.v2+json',
  altegio: 'application/vnd.api.v2+json',
};

export type Headers = { readonly authorization?: string | undefined; readonly accept?: string | undefined };

/** Throws a refusal: 401 of the application, 406 of the version; the rest is `checkUser`'s. */
export function checkPartner(
  { authorization = '', accept = '' }: Headers,
  token: string,
  brand: Brand,
): void {
  const [, partner] = /^Bearer ([^,\s]+)/.exec(authorization) ?? [];
  if (partner !== token) throw new Refusal(401, 'Partner token is not valid');
  // What the platform says to this is undocumented; a client that forgets the header must hear of it here.
  if (!accept.includes(ACCEPT[brand])) throw new Refusal(406, `Accept must be ${ACCEPT[brand]}`);
}

/** Throws a refusal (403) unless the user half of the header names someone who may do this in the company. */
export function checkUser(
  { authorization = '' }: Headers,
  users: ReadonlyMap<string, User>,
  right: Right,
  companyId: number | undefined,
): void {
  const [, token] = /,\s*User (\S+)$/.exec(authorization) ?? [];
  const user = token === undefined ? undefined : users.get(token);
  const belongs =
    user?.companies === 'all' || (companyId !== undefined && user?.companies.includes(companyId));
  if (!belongs || user?.lacks?.includes(right)) throw new Refusal(403, 'Not enough rights');
}

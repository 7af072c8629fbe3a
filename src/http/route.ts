/** One route of the admin API, and the ids that its paths are made of. */
import { z } from 'zod';
import type { Channel, ChannelName } from '../channels/channel.ts';
import type { Texts } from '../domain/text.ts';
import { MissingError } from '../log.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';

export type ApiDeps = {
  readonly pool: Pool;
  readonly vault: Vault;
  /** The URL to give to the platform for a key. */
  readonly webhookUrl: (key: string) => string;
  /** The same for a key of texts. */
  readonly textsUrl: (key: string) => string;
  readonly texts: Texts;
  readonly channels: ReadonlyMap<ChannelName, Channel>;
  /** Events were put back: there is work. */
  readonly onReplay: () => void;
  /** The same of messages. */
  readonly onResend: () => void;
};

export type Input = { readonly params: unknown; readonly query: unknown; readonly body: unknown };

export type Route = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `{name}` for parameters, as OpenAPI writes it. */
  readonly path: string;
  readonly summary: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly answer: string;
  /** Of what is asked by another verb than GET for its body's sake alone; whatever else is no GET is logged as a change. */
  readonly changesNothing?: true;
  readonly handle: (deps: ApiDeps, input: Input) => Promise<unknown>;
};

export const companyId = z.coerce
  .number('must be the number of the company at YClients or Altegio')
  .int('must be a whole number')
  .positive('must be above 0')
  .max(2_147_483_647, 'is too large for a company');
export const bigId = z.coerce.number().int().positive();
export const companyParams = z.object({ company: companyId });
const uuid = z.uuid();
export const idParams = z.object({ id: uuid });
/** Of what is listed a page at a time. */
export const page = { cursor: uuid.optional(), limit: z.coerce.number().int().min(1).max(200).default(50) };

export function missing(what: string): never {
  throw new MissingError(`There is no ${what}.`);
}

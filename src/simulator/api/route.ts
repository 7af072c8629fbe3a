/** A route of the API, and what it is given. */
import type { EpochMs } from '../../domain/time.ts';
import type { Random } from '../random.ts';
import type { Needs } from './access.ts';
import { type Answer, Refusal } from './answers.ts';
import type { Branch, Write } from './branch.ts';
import type { Quirks } from './quirks.ts';

export type Call = {
  readonly branch: Branch;
  readonly params: { readonly [name: string]: string };
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly now: EpochMs;
  readonly quirks: Quirks;
  readonly random: Random;
  /** Makes it true at the salon, and tells those who listen. */
  readonly write: (write: Write) => void;
};

export type Route = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `:company`; or with `:visit` and `:record`, which are looked for in every company; else the body has a `salon_id`, or with `:token` a text's id. */
  readonly path: string;
  /** Its name in counts and in troubles. */
  readonly operation: string;
  readonly needs: Needs;
  readonly handle: (call: Call) => Answer;
};

/** A number of the path; what is none is not found. */
export function idParam({ params }: Pick<Call, 'params'>, name: string): number {
  const id = Number(params[name]);
  if (!Number.isSafeInteger(id) || id < 1) throw new Refusal(404, 'Not found');
  return id;
}

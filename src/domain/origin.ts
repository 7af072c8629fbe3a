/** Who made a booking, as far as its record tells (50 real rows). Nothing tells who changed one. */
export type Origin = 'bot' | 'widget' | 'app' | 'aggregator' | 'admin' | 'unknown';

/** The fields of a record that speak of its maker. */
export type Maker = {
  readonly online: boolean | undefined;
  readonly recordFrom: string | undefined;
  readonly bookformId: number | undefined;
  readonly createdUserId: number | undefined;
  readonly apiId: string | undefined;
};

/**
 * `botApiPrefix` is the prefix that the salon's own bot puts into `api_id`. Any other `api_id` proves nothing: the
 * platform fills it with a UUID even for records made in the journal.
 */
export function originOf(maker: Maker, botApiPrefix?: string): Origin {
  if (botApiPrefix && maker.apiId?.startsWith(botApiPrefix)) return 'bot';
  if (maker.online === undefined) return 'unknown';
  if (!maker.online) return 'admin';
  const from = maker.recordFrom ?? '';
  if (/^(partners|партн[её]ры?):/i.test(from)) return 'aggregator';
  if (/\bapp$/i.test(from)) return 'app';
  return (maker.bookformId ?? 0) > 0 ? 'widget' : 'unknown';
}

/**
 * `doctor`'s word on steps of routes that wait for their first receipt. A provider that has told of no message of a
 * company yet is not taken as silent (work/fall.ts), so that a message goes on from it only when it is refused: the route
 * stands in the settings, and does not work.
 */
import type { Channel, ChannelName } from '../channels/channel.ts';
import { closeChannels, createChannels } from '../channels/registry.ts';
import type { Config } from '../config.ts';
import { channelsConfig } from '../configured-channels.ts';
import { CATEGORIES } from '../domain/policy.ts';
import { type Company, listCompanies } from '../store/companies.ts';
import type { Db } from '../store/pool.ts';
import { findReceiptGivers } from '../store/reached.ts';
import { routeAhead } from '../work/route.ts';
import { type Finding, note } from './finding.ts';

const COMPANIES_SHOWN = 5;

/** One for each channel that has told nothing; none where the settings can never work, of which there is a line. */
export async function firstReceiptFindings(db: Db, config: Config): Promise<Finding[]> {
  const channels = channelsOf(config);
  await closeChannels(channels);
  const companies = (await listCompanies(db)).filter(({ removed }) => !removed);
  const givers = await findReceiptGivers(
    db,
    companies.map(({ companyId }) => companyId),
  );
  const tells = (companyId: number, { name, provider = name }: Channel) =>
    givers.some(
      giver => giver.companyId === companyId && giver.channel === name && giver.provider === provider,
    );
  return [...channels.values()].flatMap(channel => {
    const waiting = companies
      .filter(company => goesOnFrom(channel, company, channels) && !tells(company.companyId, channel))
      .map(({ companyId }) => companyId);
    return waiting.length === 0 ? [] : [note('receipts', wordsOf(channel, waiting))];
  });
}

function channelsOf(config: Config): ReadonlyMap<ChannelName, Channel> {
  try {
    return createChannels(channelsConfig(config));
  } catch {
    return new Map();
  }
}

/** Whether a message of this company would go on from the channel for want of a receipt. */
function goesOnFrom(
  { name }: Channel,
  company: Company,
  channels: ReadonlyMap<ChannelName, Channel>,
): boolean {
  return CATEGORIES.some(category => {
    const { steps } = routeAhead({ channels, reached: [], now: Date.now() }, company, category, null);
    return steps.slice(0, -1).some(({ channel, withinMs }) => channel === name && withinMs !== null);
  });
}

function wordsOf({ name, provider = name }: Channel, companyIds: readonly number[]): string {
  const [first] = companyIds;
  const shown = companyIds.slice(0, COMPANIES_SHOWN).join(', ');
  const more = companyIds.length - COMPANIES_SHOWN;
  const of = companyIds.length === 1 ? `company ${first}` : `companies ${shown}`;
  return `${name} by ${provider} has told of no message of ${of}${more > 0 ? ` and ${more} more` : ''} yet: until it does, one that it keeps silent about goes on to no other channel. Enter the address that \`channels\` prints there, then \`send-test --company ${first} --channel ${name} --to …\`: its receipt is enough`;
}

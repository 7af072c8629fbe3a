/** `company operator …`: a salon's own texts delivered by us, and `doctor`'s word on it. */
import { partnerTokensOf } from '../api-access.ts';
import { ADDRESSED } from '../channels/channel.ts';
import { type Config, isReachableFromOutside } from '../config.ts';
import { channelsConfig } from '../configured-channels.ts';
import { publicRoot, textsUrl } from '../configured-urls.ts';
import { closeTexts, openTexts } from '../salon/companies.ts';
import type { Pool } from '../store/pool.ts';
import { type RelayState, readRelayStates } from '../store/relays.ts';
import { type Finding, fault, note, ok } from './finding.ts';
import { type Context, parseId, print, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function operatorOn(context: Context, id: string, options: Json): Promise<void> {
  await printAddress(context, id, options, 'Give this address to the platform (it is shown only now)');
}

export async function operatorRotateKey(context: Context, id: string, options: Json): Promise<void> {
  await printAddress(context, id, options, 'The new address (the old one works for another 24 hours)');
}

async function printAddress(context: Context, id: string, options: Json, says: string): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    const key = await openTexts({ pool, vault, actor: 'command' }, companyId);
    const root = publicRoot(context.config);
    const url = textsUrl(root, key);
    const [state] = await readRelayStates(pool, companyId);
    const lacks = state === undefined ? [] : lacksOf(state, context.config);
    const text = [
      `${says}:`,
      `  ${url}`,
      `Where one address serves all salons, as in the marketplace: ${root}/operator/yclients with the key`,
      `  ${key}`,
      ...lacks.map(lack => `Still lacking: ${lack}.`),
    ];
    print(options, { companyId, key, url, lacks }, text.join('\n'));
  });
}

export async function operatorOff(context: Context, id: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool, vault }) => {
    const was = await closeTexts({ pool, vault, actor: 'command' }, companyId);
    const text = was
      ? `No texts of company ${companyId} are taken any more; those that were taken still leave.`
      : `Company ${companyId} had no address for its texts.`;
    print(options, { companyId, on: false, was }, text);
  });
}

/** What keeps the texts of a salon from their people, or their statuses from the platform. */
function lacksOf({ brand, route }: RelayState, config: Config): string[] {
  const configured = new Map<string, unknown>(Object.entries(channelsConfig(config)));
  const personal = ADDRESSED.filter(name => name !== 'email' && route.includes(name));
  const able = [...personal, ...route.filter(name => name === 'webhook')];
  const { PUBLIC_URL } = config;
  return [
    ...(partnerTokensOf(config)[brand] === undefined
      ? ['YCLIENTS_PARTNER_TOKEN, without which the platform is not told what became of a text']
      : []),
    ...(PUBLIC_URL === undefined || !isReachableFromOutside(PUBLIC_URL)
      ? ['a PUBLIC_URL that begins with https and is not this machine’s own: the platform could not call it']
      : []),
    ...(able.length === 0 ? ['a channel in its route that reaches a phone: sms, say'] : []),
    ...(able.length > 0 && able.every(name => !configured.get(name) && name !== 'webhook')
      ? [`the settings of ${able.join(' or ')}, by which a text would leave: docs/channels.md`]
      : []),
  ];
}

export async function operatorFindings(pool: Pool, config: Config): Promise<Finding[]> {
  const states = await readRelayStates(pool);
  return states.flatMap(state => {
    const { companyId, on, texts, untold, givenUp } = state;
    if (!on && texts === 0) return [];
    const lacks = on ? lacksOf(state, config) : [];
    const said = `company ${companyId}: ${texts} texts of its own in 24 hours`;
    return [
      ...lacks.map(lack => fault('SMS operator', `company ${companyId} lacks ${lack}`)),
      ...(untold > 0
        ? [note('SMS operator', `${said}, of ${untold} the platform did not take a status yet`)]
        : []),
      ...(givenUp > 0
        ? [
            note(
              'SMS operator',
              `${said}, of ${givenUp} it refused a status: is YCLIENTS_STATUS_URL right? See docs/sms-operator.md`,
            ),
          ]
        : []),
      ...(lacks.length + untold + givenUp === 0 ? [ok('SMS operator', said)] : []),
    ];
  });
}

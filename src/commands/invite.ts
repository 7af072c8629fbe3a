/** `company invite`, `client invite`: the link and the QR code by which a salon's clients, or one of them, open the bot. */
import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { renderSVG, renderUnicodeCompact } from 'uqr';
import type { ChannelName } from '../channels/channel.ts';
import type { Mouth } from '../channels/ear.ts';
import { createMaxEar } from '../channels/max-ear.ts';
import { createTelegramEar } from '../channels/telegram-ear.ts';
import { createVkEar } from '../channels/vk-ear.ts';
import type { Config } from '../config.ts';
import { maxOf, TURNED_ON_BY, telegramOf, vkOf } from '../configured-channels.ts';
import { answeredOn } from '../configured-ears.ts';
import { PlainError } from '../log.ts';
import { oneClient } from '../salon/clients.ts';
import { settleInvite } from '../store/chats.ts';
import { personalInvite } from '../work/personal.ts';
import { type Context, parseId, print, withStore } from './run.ts';

const LENGTH = 12;
const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';
const TIMEOUT_MS = 10_000;

type Options = { readonly channel?: string; readonly svg?: string; readonly json?: boolean };

export async function companyInvite(context: Context, id: string, options: Options): Promise<void> {
  const companyId = parseId(id, 'company');
  const { channel, name, mouth } = mouthOf(context.config, options.channel);
  const invite = await withStore(context, ({ pool }) => settleInvite(pool, companyId, newInvite()));
  if (invite === undefined) {
    await mouth.close();
    throw new PlainError(`there is no company ${companyId}; \`company list\` shows those there are`);
  }
  const url = await urlOf(invite, mouth, channel);
  const means =
    mouth.numbers === 'shared'
      ? `Clients of company ${companyId} who open this link and share their number get its messages in ${name}:`
      : `Clients of company ${companyId} open its chat in ${name} by this link; whose it is ${name} does not tell, so give each a link of their own (\`client invite\`):`;
  await show(options, { companyId, channel, url }, means);
}

export async function clientInvite(
  context: Context,
  id: string,
  who: string,
  options: Options,
): Promise<void> {
  const companyId = parseId(id, 'company');
  const { channel, name, mouth } = mouthOf(context.config, options.channel);
  const made = await withStore(context, async ({ pool, vault }) => {
    const clientId = await oneClient(pool, companyId, who);
    return { clientId, ...personalInvite(vault, { companyId, clientId }, Date.now()) };
  }).catch(async (error: unknown) => {
    await mouth.close();
    throw error;
  });
  const url = await urlOf(made.invite, mouth, channel);
  const goodUntil = new Date(made.goodUntil).toISOString();
  await show(
    options,
    { companyId, clientId: made.clientId, channel, url, goodUntil },
    `Whoever opens this link in ${name} gets the messages of client ${made.clientId}; give it to nobody else. It is good until ${goodUntil}:`,
  );
}

type Shown = {
  readonly companyId: number;
  readonly clientId?: number;
  readonly channel: string;
  readonly url: string;
  readonly goodUntil?: string;
};

async function show(options: Options, value: Shown, means: string): Promise<void> {
  const { url } = value;
  if (options.svg !== undefined) await writeSvg(options.svg, url);
  const code = options.svg === undefined ? renderUnicodeCompact(url) : `The QR code is in ${options.svg}.`;
  print(options, value, [means, `  ${url}`, code].join('\n'));
}

const NAMES = { telegram: 'Telegram', max: 'MAX', vk: 'VK' } as const;
type Invited = keyof typeof NAMES;

/** The bot that is asked for; where there is one only, that. */
export function mouthOf(
  config: Config,
  asked: string | undefined,
): { channel: ChannelName; name: string; mouth: Mouth } {
  const heard = answeredOn(config);
  const channels = (Object.keys(NAMES) as Invited[]).filter(channel => heard.has(channel));
  const channel = asked ?? channels[0];
  const known = channels.find(each => each === channel);
  if (known === undefined) {
    const settings = asked === undefined ? TURNED_ON_BY.telegram : TURNED_ON_BY[asked as ChannelName];
    throw new PlainError(
      `there is no bot to invite to${asked === undefined ? '' : ` on ${asked}`}: set ${settings}${asked === 'max' || asked === 'vk' ? ', and PUBLIC_URL by https' : ''}`,
    );
  }
  const limits = { timeoutMs: TIMEOUT_MS };
  const [telegram, max, vk] = [telegramOf(config), maxOf(config), vkOf(config)];
  const mouth =
    known === 'telegram' && telegram !== undefined
      ? createTelegramEar({ ...telegram, ...limits })
      : known === 'max' && max !== undefined
        ? createMaxEar({ ...max, ...limits })
        : vk !== undefined
          ? createVkEar({ ...vk, ...limits })
          : undefined;
  if (mouth === undefined) throw new Error(`no settings for ${known}`);
  return { channel: known, name: NAMES[known], mouth };
}

export async function urlOf(invite: string, mouth: Mouth, channel: ChannelName): Promise<string> {
  try {
    return await mouth.inviteUrl(invite, AbortSignal.timeout(TIMEOUT_MS));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'no answer';
    const settings = {
      telegram: 'TELEGRAM_TOKEN, and TELEGRAM_API_ROOT where Telegram is out of reach',
      max: 'MAX_TOKEN and MAX_API_URL',
      vk: 'VK_TOKEN and VK_API_URL',
    }[channel as Invited];
    throw new PlainError(`the bot's name is not known: ${reason}; check ${settings}`, { cause });
  } finally {
    await mouth.close();
  }
}

async function writeSvg(path: string, url: string): Promise<void> {
  try {
    await writeFile(path, renderSVG(url), { flag: 'wx' });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code === 'EEXIST') throw new PlainError(`${path} is there already: choose another name`, { cause });
    throw new PlainError(`cannot write ${path} (${code})`, { cause });
  }
}

/** Nobody's secret: it only says which salon a chat was opened for. */
function newInvite(): string {
  return Array.from({ length: LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

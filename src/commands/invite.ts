/** `company invite`: the link and the QR code by which a salon's clients open the bot. */
import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { renderSVG, renderUnicodeCompact } from 'uqr';
import { createTelegramEar } from '../channels/telegram-ear.ts';
import { PlainError } from '../log.ts';
import { settleInvite } from '../store/chats.ts';
import { type Context, parseId, print, withStore } from './run.ts';

const LENGTH = 12;
const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';
const TIMEOUT_MS = 10_000;

export async function companyInvite(
  context: Context,
  id: string,
  options: { readonly svg?: string; readonly json?: boolean },
): Promise<void> {
  const companyId = parseId(id, 'company');
  const { TELEGRAM_TOKEN: token, TELEGRAM_API_ROOT: apiRoot } = context.config;
  if (token === undefined) {
    throw new PlainError(
      'there is no bot to invite to: set TELEGRAM_TOKEN to the token of yours from @BotFather',
    );
  }
  const invite = await withStore(context, ({ pool }) => settleInvite(pool, companyId, newInvite()));
  if (invite === undefined) {
    throw new PlainError(`there is no company ${companyId}; \`company list\` shows those there are`);
  }
  const url = await urlOf(invite, { token, apiRoot });
  if (options.svg !== undefined) await writeSvg(options.svg, url);
  print(
    options,
    { companyId, channel: 'telegram', url },
    [
      `Clients of company ${companyId} who open this link and share their number get its messages in Telegram:`,
      `  ${url}`,
      ...(options.svg === undefined ? [renderUnicodeCompact(url)] : [`The QR code is in ${options.svg}.`]),
    ].join('\n'),
  );
}

async function urlOf(invite: string, bot: Parameters<typeof createTelegramEar>[0]): Promise<string> {
  const ear = createTelegramEar({ ...bot, timeoutMs: TIMEOUT_MS });
  try {
    return await ear.inviteUrl(invite, AbortSignal.timeout(TIMEOUT_MS));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'no answer';
    throw new PlainError(
      `the bot's name is not known: ${reason}; check TELEGRAM_TOKEN, and TELEGRAM_API_ROOT where Telegram is out of reach`,
      { cause },
    );
  } finally {
    await ear.close();
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

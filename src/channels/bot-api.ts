/** Calls of Telegram's Bot API, with a limit on everything and with what is known of a call that failed. */
import { Api } from 'grammy';
import { Agent } from 'undici';
import { type Posted, post } from './post.ts';

export type BotConfig = {
  readonly token: string;
  /** Another Bot API server or a proxy to it; api.telegram.org is slow or out of reach in Russia. */
  readonly apiRoot?: string | undefined;
};

export type Called<T> =
  | { readonly ok: true; readonly value: T }
  /** `posted` is undefined when the request could not even be made. */
  | { readonly ok: false; readonly error: unknown; readonly posted: Posted | undefined };

export type BotApi = {
  /** The bot's own id: what stands before the colon of its token. */
  readonly account: string;
  /** Never throws. Ends within `timeoutMs`, or when `signal` aborts. */
  call<T>(
    ask: (api: Api) => Promise<T>,
    limits: { readonly signal: AbortSignal; readonly timeoutMs: number; readonly maxAnswerBytes: number },
  ): Promise<Called<T>>;
  close(): Promise<void>;
};

const CONNECT_MS = 20_000;

export function createBotApi({ token, apiRoot }: BotConfig): BotApi {
  const root = (apiRoot ?? 'https://api.telegram.org').replace(/\/+$/, '');
  if (!/^https?:\/\//.test(root) || !URL.canParse(root))
    throw new Error('The Telegram API root is not an http(s) URL.');
  const dispatcher = new Agent({ connect: { timeout: CONNECT_MS }, allowH2: false });
  return {
    account: token.slice(0, token.indexOf(':')),
    async call(ask, { signal, timeoutMs, maxAnswerBytes }) {
      const trip: { posted?: Posted } = {};
      // grammY's own fetch cannot tell a connection that was never made from an answer that never came.
      const fetch = async (url: string | URL, { body }: { body: string }) => {
        const headers = { 'content-type': 'application/json' };
        trip.posted = await post({ url, headers, body, dispatcher, timeoutMs, maxAnswerBytes }, signal);
        return new Response(trip.posted.answered ? trip.posted.text : '');
      };
      // Its timeout is the second, ours ends first.
      const api = new Api(token, { apiRoot: root, timeoutSeconds: (timeoutMs + 5000) / 1000, fetch });
      try {
        return { ok: true, value: await ask(api) };
      } catch (error) {
        return { ok: false, error, posted: trip.posted };
      }
    },
    close: () => dispatcher.destroy(),
  };
}

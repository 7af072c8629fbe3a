/**
 * The platform's API over HTTP, for both brands: headers, the shared budget, tries, and the log of calls. What is asked
 * by which path stands in `calls.ts`, what comes back in `answer.ts`.
 */
import type { EpochMs } from '../domain/time.ts';
import { TOKEN } from '../domain/token.ts';
import { BRANDS, nameOf, readAnswer } from './answer.ts';
import { ApiError, type ApiTrouble, type Brand, type CompanyApi, type Gate, type Operation } from './api.ts';
import { type Call, companyApi } from './calls.ts';
import { createLine, type Exchanged } from './exchange.ts';

export type CallRecord = {
  readonly companyId: number;
  readonly operation: Operation;
  readonly outcome: 'fine' | ApiTrouble;
  readonly durationMs: number;
};

export type ApiClientOptions = {
  readonly brand: Brand;
  /** In place of the brand's own address. */
  readonly baseUrl?: string | undefined;
  /** Undefined: every call is refused here, with a word on what to set. */
  readonly partnerToken: string | undefined;
  readonly gate: Gate;
  readonly now: () => EpochMs;
  readonly random: () => number;
  /** For one exchange, the wait for the budget not counted. */
  readonly timeoutMs?: number;
  /** How to wait between tries; to be replaced under virtual time. */
  readonly sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** Called for each request that left, tries counted one by one. */
  readonly onCall?: (call: CallRecord) => void;
};

export type ApiClient = {
  /** `userToken` undefined: only what needs no user can be asked. */
  company(companyId: number, userToken: string | undefined): CompanyApi;
  /** Asks nothing more: calls that wait, for the budget or for their next try, end; what has left may come back. */
  stop(): void;
  /** Ends what is under way too. May be called twice. */
  close(): Promise<void>;
};

export const DEFAULT_API_URLS: Record<Brand, string> = {
  yclients: 'https://api.yclients.com',
  altegio: 'https://api.alteg.io',
};
/** Without this the API answers in an older form. */
const ACCEPT: Record<Brand, string> = {
  yclients: 'application/vnd.yclients.v2+json',
  altegio: 'application/vnd.api.v2+json',
};
/** A full page of a large salon takes the platform several seconds. */
const TIMEOUT_MS = 20_000;
/** The second try helps with a connection lost, the third with a restart; a longer outage is the breaker's. */
const MAX_TRIES = 3;
const FIRST_PAUSE_MS = 500;

export function createApiClient(options: ApiClientOptions): ApiClient {
  const { brand, partnerToken, gate, now, random, sleep = pause, onCall } = options;
  const base = (options.baseUrl ?? DEFAULT_API_URLS[brand]).replace(/\/+$/, '');
  const line = createLine({ timeoutMs: options.timeoutMs ?? TIMEOUT_MS, now });
  const stopping = new AbortController();
  const closing = new AbortController();
  const inTurn = createTurns();

  async function call(companyId: number, userToken: string | undefined, asked: Call): Promise<unknown> {
    const about = { brand, companyId, operation: asked.operation };
    const lacking = lackingToken(about, asked, partnerToken, userToken);
    if (lacking !== undefined) throw lacking;
    return inTurn(companyId, async () => {
      for (let tries = 1; ; tries += 1) {
        const outcome = await attempt(about, asked, userToken);
        if ('data' in outcome) return outcome.data;
        const { error, mayBeDone } = outcome;
        const doubtful = mayBeDone && asked.repeat !== 'always';
        const passing = error.trouble === 'unavailable' || error.trouble === 'limited';
        if (doubtful) throw withDoubt(error);
        if (!passing || tries === MAX_TRIES || stopping.signal.aborted) throw error;
        // A stop during the pause is seen by the next attempt.
        await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1) * (0.5 + random()), stopping.signal).catch(() => {});
      }
    });
  }

  async function attempt(
    about: { brand: Brand; companyId: number; operation: Operation },
    asked: Call,
    userToken: string | undefined,
  ): Promise<{ data: unknown } | { error: ApiError; mayBeDone: boolean }> {
    const refused = await enter(about);
    if (refused !== undefined) return { error: refused, mayBeDone: false };
    const startedAt = performance.now();
    const exchanged = await line.exchange(
      {
        method: asked.method,
        url: new URL(`${base}/api/v1/${asked.path}`),
        headers: {
          authorization: `Bearer ${partnerToken}${userToken === undefined ? '' : `, User ${userToken}`}`,
          accept: ACCEPT[brand],
          'content-type': 'application/json',
        },
        body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
      },
      closing.signal,
    );
    const read = exchanged.answered ? readAnswer(exchanged, about) : unanswered(exchanged, about);
    const outcome = read instanceof ApiError ? read.trouble : 'fine';
    onCall?.({ ...about, outcome, durationMs: performance.now() - startedAt });
    await report(outcome, read instanceof ApiError ? read.retryAfterMs : undefined);
    return read instanceof ApiError ? { error: read, mayBeDone: mayBeDone(exchanged, read) } : read;
  }

  /** Waits for the budget; an error when the call may not leave. */
  async function enter(about: {
    brand: Brand;
    companyId: number;
    operation: Operation;
  }): Promise<ApiError | undefined> {
    try {
      stopping.signal.throwIfAborted();
      await gate.enter(stopping.signal);
      return undefined;
    } catch (error) {
      if (stopping.signal.aborted)
        return new ApiError('paused', `${nameOf(about)}: not asked, we are stopping`);
      if (error instanceof ApiError) {
        const { trouble, status, retryAfterMs } = error;
        return new ApiError(trouble, `${nameOf(about)}: ${error.message}`, {
          status,
          retryAfterMs,
          cause: error,
        });
      }
      return new ApiError(
        'paused',
        `${nameOf(about)}: not asked, the budget of calls is kept in a database that is away`,
        {
          cause: error,
        },
      );
    }
  }

  async function report(outcome: 'fine' | ApiTrouble, retryAfterMs: number | undefined): Promise<void> {
    if (closing.signal.aborted) return;
    const kind = outcome === 'limited' || outcome === 'unavailable' ? outcome : 'fine';
    // The call is over, and what it brought counts more than the budget's opinion of it: the next `enter` will tell.
    await gate.report(kind, retryAfterMs).catch(() => {});
  }

  return {
    company: (companyId, userToken) =>
      companyApi(asked => call(companyId, userToken, asked), {
        brand,
        companyId,
      }),
    stop: () => stopping.abort(),
    async close() {
      stopping.abort();
      closing.abort();
      await line.close();
    },
  };
}

/** Runs what is given for one company one after another; different companies side by side. */
function createTurns(): <T>(companyId: number, work: () => Promise<T>) => Promise<T> {
  const last = new Map<number, Promise<unknown>>();
  return (companyId, work) => {
    const mine = (last.get(companyId) ?? Promise.resolve()).then(work, work);
    last.set(companyId, mine);
    const leave = () => {
      if (last.get(companyId) === mine) last.delete(companyId);
    };
    mine.then(leave, leave);
    return mine;
  };
}

/** What no call to the API needs to find out. A token goes into a header as it is: one with a line break would not. */
function lackingToken(
  about: { brand: Brand; companyId: number; operation: Operation },
  { anonymous }: Call,
  partnerToken: string | undefined,
  userToken: string | undefined,
): ApiError | undefined {
  const { partner, user } = BRANDS[about.brand];
  const fail = (said: string, todo: string) =>
    new ApiError('unauthorised', `${nameOf(about)}: ${said}; ${todo}`);
  const ofUser = `set ${user}, or the company’s own by \`company set ${about.companyId} --user-token-stdin\``;
  if (partnerToken === undefined) {
    return fail('the partner token, the first half of the authorisation, is not set', `set ${partner}`);
  }
  if (!TOKEN.test(partnerToken))
    return fail('the partner token cannot be one', `set ${partner} without blanks`);
  if (userToken === undefined) {
    return anonymous === true
      ? undefined
      : fail('the user token, the second half of the authorisation, is not set', ofUser);
  }
  return TOKEN.test(userToken)
    ? undefined
    : fail('the user token cannot be one: it has blanks or the like', ofUser);
}

function unanswered(
  { reason, error }: Extract<Exchanged, { answered: false }>,
  about: { brand: Brand; companyId: number; operation: Operation },
): ApiError {
  return new ApiError('unavailable', `${nameOf(about)}: no answer (${reason}); it is asked again later`, {
    cause: error,
  });
}

/** Whether the API may have acted although we cannot tell. A 429 is refused at the door. */
function mayBeDone(exchanged: Exchanged, { trouble }: ApiError): boolean {
  if (!exchanged.answered) return exchanged.left;
  return trouble === 'unavailable' || trouble === 'unreadable';
}

function withDoubt(error: ApiError): ApiError {
  const { trouble, status, retryAfterMs, code } = error;
  const message = `${error.message}. It may have been done all the same: look before asking again`;
  return new ApiError(trouble, message, { status, retryAfterMs, code, outcomeUnknown: true, cause: error });
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(finish, milliseconds);
    signal.addEventListener('abort', finish, { once: true });
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    }
  });
}

/**
 * `/answers/{link}`: the page where whoever has no buttons (an e-mail) confirms, cancels or moves a visit, or ends
 * messages.
 * Opening it changes nothing, since mail servers open every link they see: what changes something is a button's POST.
 */
import { timingSafeEqual } from 'node:crypto';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ActionKind, type Link, readLink } from '../domain/answer.ts';
import type { Locale } from '../domain/locale.ts';
import { clientIdOf } from '../domain/notice.ts';
import { outcomeWords } from '../domain/outcome.ts';
import { PHRASES, type Phrases } from '../domain/phrases.ts';
import { spokenTime } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import {
  type Answered,
  findAnswered,
  findAnswers,
  insertActions,
  type RecordAnswer,
} from '../store/actions.ts';
import { refuseEmail } from '../store/chats.ts';
import { type Company, findCompanies } from '../store/companies.ts';
import { type Pool, troubleOf } from '../store/pool.ts';
import type { Vault } from '../vault.ts';
import { countMisses, createLimit, noteRefusal, UNAVAILABLE } from './guard.ts';
import { type Html, html, sendPage } from './page.ts';

export type AnswerRoute = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly now: () => EpochMs;
};

/**
 * Of one message. A page that waits for the platform takes 30 by itself. Not of an address: people behind one carrier
 * share theirs, and so do all whose mailer posts one-click for them.
 */
const LOOKS_PER_MINUTE = 120;
/** A form of ours has one short field. */
const FORM_BYTES = 1_024;
/** One-click is a field of 26 bytes, in whatever form a mailer wraps it. */
const ONE_CLICK_BYTES = 8_192;
/** How soon a page that waits for the platform looks again. */
const AGAIN_SECONDS = 2;

type Asked = FastifyRequest<{ Params: { link: string }; Body: URLSearchParams | undefined }>;

/** A message that was answered by its own link. */
type Opened = { readonly answered: Answered; readonly company: Company; readonly phrases: Phrases };

export function addAnswerRoutes(
  app: FastifyInstance,
  deps: { readonly metrics: Metrics; readonly log: Log },
  route: AnswerRoute,
): void {
  const { metrics } = deps;
  const misses = countMisses();
  const looks = createLimit(LOOKS_PER_MINUTE, 60);

  /** The message behind a link, or the page that says why there is none. */
  async function open(request: Asked, reply: FastifyReply): Promise<Opened | undefined> {
    const link = readLink(request.params.link);
    const ours = link !== undefined && isOurs(route.vault, link);
    const waitSeconds = ours ? await looks(link.messageId) : await misses(request.ip);
    if (!ours || waitSeconds > 0) return refuse(reply, waitSeconds);
    const answered = await findAnswered(route.pool, link);
    const company =
      answered === undefined
        ? undefined
        : (await findCompanies(route.pool, [answered.companyId])).get(answered.companyId);
    if (answered === undefined || company === undefined || company.removed) return refuse(reply, 0);
    return { answered, company, phrases: PHRASES[company.locale] };
  }

  function refuse(reply: FastifyReply, waitSeconds: number): undefined {
    metrics.rejected.inc({ cause: waitSeconds > 0 ? 'answer_rate' : 'answer_link' });
    if (waitSeconds > 0) reply.header('retry-after', waitSeconds);
    if (waitSeconds > 0) sayNo(reply, 429, 'tooOften');
    else sayNo(reply, 404, 'wrong');
    return undefined;
  }

  /** Whoever opened a page gets one with the database away, too. What else fails is answered as on any route. */
  function answerFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (troubleOf(error) !== 'unavailable') throw error;
    const { status, retryAfterSeconds } = UNAVAILABLE;
    noteRefusal(deps, { requestId: request.id, status, cause: 'store_down', about: { err: error } });
    return sayNo(reply.header('retry-after', retryAfterSeconds), status, 'away');
  }

  app.register((scope, _options, done) => {
    scope.setErrorHandler(answerFailure);
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_BYTES },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );

    scope.get('/answers/:link', async (request: Asked, reply) => {
      const opened = await open(request, reply);
      if (opened === undefined) return reply;
      const { phrases, company, answered } = opened;
      const answers = lastOf(await findAnswers(route.pool, answered));
      const [{ kind } = { kind: undefined }] = answers;
      if (kind === undefined) return ask(reply, opened, choices(opened));
      if (answers.some(({ state }) => state === 'due' || state === 'doing')) {
        return show(reply, opened, [html`<p>${phrases.working}</p>`], { againSeconds: AGAIN_SECONDS });
      }
      const link = answers.find(answer => answer.link !== null)?.link ?? undefined;
      const word =
        link === undefined
          ? html`<p>${outcomeWords(answers, answered, company)}</p>`
          : html`<p>${phrases.moveBy('', company.phone)}<a href="${link}" rel="noreferrer">${link}</a></p>`;
      // Who has confirmed may still be prevented from coming, and who looked where to move it may leave it as it is.
      const more = answers.every(({ state }) => state === 'done') && kind !== 'cancel';
      return ask(reply, opened, [word, ...(more ? choices(opened, kind) : [])]);
    });

    scope.post('/answers/:link', async (request: Asked, reply) => {
      const opened = await open(request, reply);
      if (opened === undefined) return reply;
      const { phrases, answered } = opened;
      const asked = request.body?.get('act');
      switch (asked) {
        case 'confirm':
        case 'move':
          await act(opened, asked);
          break;
        case 'ask_cancel':
          return ask(reply, opened, [
            html`<p>${phrases.askCancel(whenOf(opened))}</p>`,
            form('cancel', phrases.reallyCancel),
            form('confirm', phrases.keep),
          ]);
        case 'cancel':
          await act(opened, 'cancel');
          break;
        default:
          return ask(reply, opened, choices(opened));
      }
      return reply.redirect(`/answers/${request.params.link}`, 303).send(answered.messageId);
    });

    scope.get<{ Params: { link: string } }>('/answers/:link/stop', async (request, reply) => {
      const opened = await open(request as Asked, reply);
      if (opened === undefined) return reply;
      return show(
        reply,
        opened,
        [html`<form method="post"><button>${opened.phrases.page.stop}</button></form>`],
        {
          forms: true,
        },
      );
    });
    done();
  });

  // One-click by RFC 8058: the mailer posts here by itself when its “unsubscribe” is pressed, as multipart/form-data or
  // urlencoded. The address says everything, so what comes along is not looked at.
  app.register((scope, _options, done) => {
    scope.setErrorHandler(answerFailure);
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: ONE_CLICK_BYTES },
      (_request, _body, parsed) => parsed(null, undefined),
    );
    scope.post<{ Params: { link: string } }>('/answers/:link/stop', async (request, reply) => {
      const opened = await open(request as Asked, reply);
      if (opened === undefined) return reply;
      const { answered, company, phrases } = opened;
      const clientId = clientIdOf(answered.recipient);
      const about = { ...answered, words: 'unsubscribe link', at: route.now() };
      const kept = clientId !== undefined && (await refuseEmail(route.pool, { ...about, clientId }));
      const said = kept ? phrases.page.stopped : phrases.page.notStopped(company.phone);
      return show(reply, opened, [html`<p>${said}</p>`], kept ? {} : { status: 404 });
    });
    done();
  });

  async function act({ answered }: Opened, kind: ActionKind): Promise<void> {
    await insertActions(route.pool, newId, { kind, answered, channel: 'email', chat: '', now: route.now() });
  }
}

/** Of nobody's salon, so in both languages. */
function sayNo(reply: FastifyReply, status: number, why: 'wrong' | 'tooOften' | 'away'): FastifyReply {
  return sendPage(reply, {
    ...{ status, language: 'ru', title: 'Otklik' },
    body: [html`<p>${PHRASES.ru.page[why]}</p>`, html`<p lang="en">${PHRASES.en.page[why]}</p>`],
  });
}

function isOurs(vault: Vault, { companyId, messageId, proof }: Link): boolean {
  return timingSafeEqual(Buffer.from(vault.proveLink(companyId, messageId)), Buffer.from(proof));
}

function whenOf({ answered, company }: Opened): string {
  const [first] = answered.records;
  return first === undefined ? '' : spokenTime(first.startsLocal, company.locale).when;
}

/** The answers to what was asked for last. */
function lastOf(answers: readonly RecordAnswer[]): readonly RecordAnswer[] {
  const last = answers.reduce<RecordAnswer | undefined>(
    (latest, answer) => (latest === undefined || answer.id > latest.id ? answer : latest),
    undefined,
  );
  return answers.filter(({ kind }) => kind === last?.kind);
}

/** What can be asked for, but for what was. */
function choices({ phrases, answered }: Opened, done?: ActionKind): readonly Html[] {
  const whole = answered.records.length > 1;
  return [
    ...(done === 'confirm' ? [] : [form('confirm', whole ? phrases.confirmAll : phrases.confirm)]),
    ...(done === 'move' ? [] : [form('move', phrases.move)]),
    form('ask_cancel', whole ? phrases.cancelAll : phrases.cancel),
  ];
}

/** To come is what stands out, also where it is asked whether to cancel. */
function form(act: string, label: string): Html {
  const look = act === 'confirm' ? html` class="main"` : '';
  return html`<form method="post"><button name="act" value="${act}"${look}>${label}</button></form>`;
}

function ask(reply: FastifyReply, opened: Opened, body: readonly Html[]): FastifyReply {
  return show(reply, opened, body, { forms: true });
}

function show(
  reply: FastifyReply,
  opened: Opened,
  body: readonly Html[],
  more: { readonly forms?: boolean; readonly againSeconds?: number; readonly status?: number } = {},
): FastifyReply {
  const { company, phrases } = opened;
  const language: Locale = company.locale;
  const visit = html`<p>${company.title}: ${whenOf(opened)}</p>`;
  return sendPage(reply, {
    status: 200,
    language,
    title: phrases.page.visit,
    body: [visit, ...body],
    ...more,
  });
}

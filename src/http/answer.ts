/**
 * `/answers/{link}`: the page where whoever has no buttons (an e-mail) confirms or cancels a visit, or ends messages.
 * Opening it changes nothing, since mail servers open every link they see: what changes something is a button's POST.
 */
import { timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { type ActionKind, type Link, readLink } from '../domain/answer.ts';
import { clientIdOf } from '../domain/notice.ts';
import { PHRASES, type Phrases } from '../domain/phrases.ts';
import { type Locale, spokenTime } from '../domain/text.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import type { Metrics } from '../metrics.ts';
import { type Answered, findAnswer, findAnswered, insertAction } from '../store/actions.ts';
import { refuseEmail } from '../store/chats.ts';
import { type Company, findCompanies } from '../store/companies.ts';
import type { Pool } from '../store/pool.ts';
import type { Vault } from '../vault.ts';
import { type Html, html, sendPage } from './page.ts';

export type AnswerRoute = {
  readonly pool: Pool;
  readonly vault: Vault;
  readonly now: () => EpochMs;
};

const TRIES_PER_MINUTE = 60;
/** A form of ours has one short field. */
const FORM_BYTES = 1_024;
/** How soon a page that waits for the platform looks again. */
const AGAIN_SECONDS = 2;

type Asked = FastifyRequest<{ Params: { link: string }; Body: URLSearchParams | undefined }>;

/** A message that was answered by its own link. */
type Opened = { readonly answered: Answered; readonly company: Company; readonly phrases: Phrases };

export function addAnswerRoutes(
  app: FastifyInstance,
  { metrics }: { readonly metrics: Metrics },
  route: AnswerRoute,
): void {
  const tries = new RateLimiterMemory({ points: TRIES_PER_MINUTE, duration: 60 });

  /** The message behind a link, or the page that says why there is none. */
  async function open(request: Asked, reply: FastifyReply): Promise<Opened | undefined> {
    const spent = await tries.consume(request.ip).catch(() => undefined);
    const link = spent === undefined ? undefined : readLink(request.params.link);
    const answered =
      link !== undefined && isOurs(route.vault, link) ? await findAnswered(route.pool, link) : undefined;
    const company =
      answered === undefined
        ? undefined
        : (await findCompanies(route.pool, [answered.companyId])).get(answered.companyId);
    if (answered !== undefined && company !== undefined && !company.removed)
      return { answered, company, phrases: PHRASES[company.locale] };
    metrics.rejected.inc({ cause: spent === undefined ? 'answer_rate' : 'answer_link' });
    const { wrong } = PHRASES.ru.page;
    sendPage(reply, {
      ...{ status: spent === undefined ? 429 : 404, language: 'ru', title: 'Otklik' },
      body: [html`<p>${wrong}</p>`, html`<p lang="en">${PHRASES.en.page.wrong}</p>`],
    });
    return undefined;
  }

  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_BYTES },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );

    scope.get('/answers/:link', async (request: Asked, reply) => {
      const opened = await open(request, reply);
      if (opened === undefined) return reply;
      const answer = await findAnswer(route.pool, opened.answered);
      if (answer === undefined) return ask(reply, opened, choices(opened.phrases));
      const waiting = answer.state === 'due' || answer.state === 'doing';
      const word = waiting ? opened.phrases.working : wordOf(opened, answer);
      if (waiting) return show(reply, opened, [html`<p>${word}</p>`], { againSeconds: AGAIN_SECONDS });
      // Who has confirmed may still be prevented from coming.
      const more = answer.state === 'done' && answer.kind === 'confirm';
      const { cancel } = opened.phrases;
      return ask(reply, opened, [html`<p>${word}</p>`, ...(more ? [form('ask_cancel', cancel)] : [])]);
    });

    scope.post('/answers/:link', async (request: Asked, reply) => {
      const opened = await open(request, reply);
      if (opened === undefined) return reply;
      const { phrases, answered } = opened;
      switch (request.body?.get('act')) {
        case 'confirm':
          await act(opened, 'confirm');
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
          return ask(reply, opened, choices(phrases));
      }
      return reply.redirect(`/answers/${request.params.link}`, 303).send(answered.messageId);
    });

    // One-click by RFC 8058: the mailer posts here by itself when its “unsubscribe” is pressed.
    scope.post<{ Params: { link: string } }>('/answers/:link/stop', async (request, reply) => {
      const opened = await open(request as Asked, reply);
      if (opened === undefined) return reply;
      const { companyId, recipient } = opened.answered;
      const clientId = clientIdOf(recipient);
      if (clientId !== undefined)
        await refuseEmail(route.pool, { companyId, clientId, words: 'unsubscribe link', at: route.now() });
      return show(reply, opened, [html`<p>${opened.phrases.page.stopped}</p>`]);
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

  async function act({ answered }: Opened, kind: ActionKind): Promise<void> {
    await insertAction(route.pool, {
      ...{ id: newId(), kind, answered, channel: 'email', chat: '', now: route.now() },
    });
  }
}

function isOurs(vault: Vault, { companyId, messageId, proof }: Link): boolean {
  return timingSafeEqual(Buffer.from(vault.proveLink(companyId, messageId)), Buffer.from(proof));
}

function whenOf({ answered, company }: Opened): string {
  return spokenTime(answered.facts.startsLocal, company.locale).when;
}

function choices(phrases: Phrases): readonly Html[] {
  return [form('confirm', phrases.confirm), form('ask_cancel', phrases.cancel)];
}

function form(act: string, label: string): Html {
  return html`<form method="post"><p><button name="act" value="${act}">${label}</button></p></form>`;
}

function ask(reply: FastifyReply, opened: Opened, body: readonly Html[]): FastifyReply {
  return show(reply, opened, body, { forms: true });
}

function show(
  reply: FastifyReply,
  opened: Opened,
  body: readonly Html[],
  more: { readonly forms?: boolean; readonly againSeconds?: number } = {},
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

function wordOf(
  opened: Opened,
  {
    kind,
    state,
    reason,
  }: { readonly kind: ActionKind; readonly state: string; readonly reason: string | null },
): string {
  const { phrases, company } = opened;
  const when = whenOf(opened);
  if (state === 'done') return kind === 'confirm' ? phrases.confirmed(when) : phrases.cancelled(when);
  if (state === 'refused' && (reason === 'over' || reason === 'moved' || reason === 'gone'))
    return phrases.refused(reason);
  return phrases.failed(company.phone);
}

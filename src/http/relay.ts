/**
 * `POST /operator/yclients/{key}`: a salon's own texts, given to us as its SMS operator. The same without the key in the
 * path and with `Authorization: Bearer {key}`, for a marketplace application, which has one address for all salons.
 *
 * Answered 200 only after every text is in the outbox, once however often it comes; a copy gets the answer of the first.
 * A destination that cannot be read is said so in its item, and the body is kept in quarantine.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EpochMs } from '../domain/time.ts';
import type { IngestLog } from '../ingest/ingest-log.ts';
import { quarantined } from '../ingest/read-body.ts';
import { type DestinationNames, type ReadText, type ReadTexts, readTexts } from '../ingest/read-relay.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Company } from '../store/companies.ts';
import type { Pool } from '../store/pool.ts';
import { findRelayed, insertRelays } from '../store/relays.ts';
import { createGuard, type Limits, noteRefusal, type Refusal, UNAVAILABLE } from './guard.ts';
import type { KeyHolder, KeyRing } from './keys.ts';
import { sendProblem } from './problem.ts';

export type RelayRoute = {
  readonly pool: Pool;
  /** Of keys for texts. */
  readonly keys: KeyRing;
  /** Where the platform of a company is told of its texts: another host in a request is worth a word. */
  readonly statusUrlOf: (brand: Company['brand']) => string;
  /** How the platform calls what we look for in a destination, where it is not one of the names that we know. */
  readonly names?: DestinationNames;
  /** There are texts in the outbox. */
  readonly onTexts: () => void;
};

type Deps = {
  readonly ingest: IngestLog;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limits: Limits;
  readonly now: () => EpochMs;
};

/** A thousand phones with their ids. */
export const BODY_LIMIT_BYTES = 256 * 1024;
/** Where the salon lets our own news take a text's place, a webhook may still be on its way: 20 s. */
const OWN_NEWS_MS = 20_000;
/** The platform's number for "parameter not validated". */
const FIELD_FAULT = 10;
const HOSTS_TOLD = 1_000;

type Asked = FastifyRequest<{ Params: { key?: string } }>;
type Item =
  | { readonly id: string; readonly ext_id: string }
  | { readonly id: string | null; readonly error_code: number; readonly error_message: string };

export function addRelayRoute(app: FastifyInstance, deps: Deps, route: RelayRoute): void {
  const guard = createGuard({ keys: route.keys, limits: deps.limits });
  const holders = new WeakMap<FastifyRequest, KeyHolder>();
  const strangers = new Set<string>();

  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: BODY_LIMIT_BYTES },
      (_request, body, parsed) => parsed(null, body),
    );
    for (const url of ['/operator/yclients/:key', '/operator/yclients']) {
      scope.post(url, { onRequest: admit }, (request: Asked, reply) => take(request, reply));
    }
    done();
  });

  async function admit(request: Asked, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const holder = await guard.admit(request.ip, request.params.key ?? bearerOf(request));
    if ('status' in holder) return refuse(request, reply, holder);
    holders.set(request, holder);
    return undefined;
  }

  async function take(request: Asked, reply: FastifyReply): Promise<FastifyReply> {
    const company = holders.get(request)?.company;
    if (company === undefined) throw new Error('a request without a key came past the guard');
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    try {
      const answer = await keep(request, company, body);
      return 'cause' in answer ? refuse(request, reply, answer) : reply.send(answer.items);
    } catch (error) {
      const about = { company_id: company.companyId, err: error };
      return refuse(request, reply, { ...NOT_KEPT, cause: 'store_down', about });
    }
  }

  async function keep(
    { id: requestId }: Asked,
    company: Company,
    body: Buffer,
  ): Promise<{ items: readonly Item[] } | Refusal> {
    const { companyId } = company;
    const receivedAt = deps.now();
    const read = readTexts(body, receivedAt, route.names);
    const unreadable = 'unreadable' in read ? read.unreadable : faultOf(read.texts);
    const kept =
      unreadable === undefined
        ? undefined
        : await deps.ingest.append(
            quarantined(body, { companyId, receivedAt, source: 'webhook', requestId }),
          );
    if (kept !== undefined) deps.metrics.quarantined.inc();
    const texts = 'unreadable' in read ? [] : read.texts;
    if (texts.every(({ relay }) => relay === null)) {
      const reason = unreadable ?? 'nobody is named';
      return {
        ...{ status: 400, title: 'Unreadable text', cause: 'unreadable' },
        detail: `The body was kept as ${kept?.id ?? 'nothing'} but cannot be read: ${reason}.`,
        about: { company_id: companyId, reason, ...(kept === undefined ? {} : { event: kept.id }) },
      };
    }
    if ('callbackUrl' in read) noteHost(company, read);
    const items = await insert(company, texts, { receivedAt, requestId });
    route.onTexts();
    return { items };
  }

  async function insert(
    { companyId, policy }: Company,
    texts: readonly ReadText[],
    { receivedAt, requestId }: { readonly receivedAt: EpochMs; readonly requestId: string },
  ): Promise<Item[]> {
    const relays = new Map(
      texts.flatMap(({ relay }) => (relay === null ? [] : [[relay.digest.toString('base64'), relay]])),
    );
    const dueAt = receivedAt + (policy.relay.repeats === 'drop' ? OWN_NEWS_MS : 0);
    await insertRelays(route.pool, { companyId, acceptedAt: receivedAt, dueAt, requestId }, [
      ...relays.values(),
    ]);
    // Asked for after that has committed: who came second sees the first.
    const known = await findRelayed(
      route.pool,
      companyId,
      [...relays.values()].map(({ digest }) => digest),
    );
    return texts.map(({ theirId, relay }) => {
      const message = relay === null ? undefined : known.get(relay.digest.toString('base64'));
      if (relay === null || message === undefined) {
        deps.metrics.texts.inc({ outcome: 'unreadable' });
        return { id: theirId, error_code: FIELD_FAULT, error_message: 'no phone that can be called' };
      }
      const outcome = message === relay.id ? 'stored' : 'duplicate';
      deps.metrics.texts.inc({ outcome });
      deps.log.info(
        { role: 'receive', request_id: requestId, company_id: companyId, message, outcome, status: 200 },
        'text taken',
      );
      return { id: theirId ?? message, ext_id: message };
    });
  }

  /** Once a company and host. Of what came from outside only a name of the platform's own is repeated. */
  function noteHost({ companyId, brand }: Company, { callbackUrl }: ReadTexts): void {
    const host = callbackUrl === null ? undefined : hostOf(callbackUrl);
    if (host === undefined || host === hostOf(route.statusUrlOf(brand))) return;
    const key = `${companyId} ${host}`;
    if (strangers.has(key) || strangers.size >= HOSTS_TOLD) return;
    strangers.add(key);
    const named = PLATFORM_HOST.test(host) ? host : 'a host that is not the platform’s';
    deps.log.warn(
      {
        role: 'receive',
        company_id: companyId,
        reason: `statuses are asked for at ${named}, and told where YCLIENTS_STATUS_URL says`,
      },
      'the platform names another host for statuses',
    );
  }

  function refuse({ id: requestId }: Asked, reply: FastifyReply, refusal: Refusal): FastifyReply {
    noteRefusal(deps, { requestId, ...refusal });
    return sendProblem(reply, refusal);
  }
}

const NOT_KEPT = { ...UNAVAILABLE, detail: 'The text was not kept. Send it again.' };
const PLATFORM_HOST = /^(?:[a-z0-9-]{1,30}\.){0,2}(?:yclients\.com|alteg\.io)$/;

function faultOf(texts: readonly ReadText[]): string | undefined {
  const count = texts.filter(({ relay }) => relay === null).length;
  return count === 0
    ? undefined
    : `${count} of ${texts.length} destinations without a phone that can be called`;
}

function bearerOf({ headers }: FastifyRequest): string | undefined {
  return /^Bearer ([\w-]{1,200})$/i.exec(headers.authorization ?? '')?.[1];
}

function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined;
}

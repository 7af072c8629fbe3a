/**
 * `GET /connect/yclients`: where the marketplace sends the browser of an owner who pressed "connect". The page says
 * what became of each salon. It holds no script and no style, and whatever is on it from outside is escaped.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Log } from '../log.ts';
import type { Metrics, RejectCause } from '../metrics.ts';
import type { Brand } from '../store/companies.ts';
import { createLimit } from './guard.ts';
import { html, sendPage } from './page.ts';
import { type ConnectFault, readConnect } from './user-data.ts';

/** What became of one salon: `kept`: refused by the platform, and connected from before. */
export type SalonConnection = {
  readonly salonId: number;
  readonly outcome: 'connected' | 'kept' | 'refused' | 'unclear' | 'failed';
  /** The zone was not to be had, and this one stands in for it. */
  readonly assumedZone?: string | undefined;
};

export type ConnectRoute = {
  readonly partnerToken: string;
  readonly brand: Brand;
  /** What is not set up, in words for the operator's log; connecting is then refused. */
  readonly lacks: readonly string[];
  /** Never rejects; safe to call twice. */
  readonly connect: (salon: {
    readonly salonId: number;
    readonly salonName: string;
  }) => Promise<SalonConnection>;
};

export type ConnectDeps = { readonly log: Log; readonly metrics: Metrics };

/** A person presses a few times; a guesser of signatures would have to ask 2^256 times anyway. */
const PRESSES_PER_MINUTE = 30;
/** Salons whose activation is under way at once, of one press. */
const AT_ONCE = 4;

export function addConnectRoute(app: FastifyInstance, deps: ConnectDeps, route: ConnectRoute): void {
  const presses = createLimit(PRESSES_PER_MINUTE, 60);
  const words = WORDS[route.brand];
  const refuse = (reply: FastifyReply, status: number, cause: RejectCause, text: string) => {
    deps.metrics.rejected.inc({ cause });
    return send(reply, status, words, [text]);
  };
  app.get<{ Querystring: Record<string, unknown> }>('/connect/yclients', async (request, reply) => {
    const waitSeconds = await presses(request.ip);
    if (waitSeconds > 0) {
      return refuse(reply.header('retry-after', waitSeconds), 429, 'connect_rate', words.later);
    }
    const asked = readConnect(request.query, route.partnerToken);
    if ('fault' in asked) {
      return refuse(reply, STATUSES[asked.fault], `connect_${asked.fault}`, words.faults[asked.fault]);
    }
    if (route.lacks.length > 0) {
      deps.log.error({ role: 'receive', reason: route.lacks.join('; ') }, 'a salon cannot be connected');
      return refuse(reply, 503, 'connect_not_set_up', words.notSetUp);
    }
    const connections = await connectAll(route, asked.salonIds, asked.salonName);
    const good = connections.every(({ outcome }) => outcome === 'connected' || outcome === 'kept');
    const lines = connections.map(connection => lineOf(words, connection, asked.salonName));
    return send(reply, good ? 200 : 502, words, good ? lines : [...lines, words.again]);
  });
}

const STATUSES: Readonly<Record<ConnectFault, number>> = { malformed: 400, signature: 403, salons: 400 };

async function connectAll(
  { connect }: ConnectRoute,
  salonIds: readonly number[],
  salonName: string,
): Promise<readonly SalonConnection[]> {
  const connections: SalonConnection[] = [];
  for (let index = 0; index < salonIds.length; index += AT_ONCE) {
    const some = salonIds.slice(index, index + AT_ONCE);
    connections.push(...(await Promise.all(some.map(salonId => connect({ salonId, salonName })))));
  }
  return connections;
}

type Words = {
  readonly language: string;
  readonly title: string;
  readonly salon: string;
  readonly outcomes: Readonly<Record<SalonConnection['outcome'], string>>;
  readonly assumed: string;
  readonly faults: Readonly<Record<ConnectFault, string>>;
  readonly later: string;
  readonly again: string;
  readonly notSetUp: string;
};

const RUSSIAN: Words = {
  language: 'ru',
  title: 'Подключение салона',
  salon: 'Салон',
  outcomes: {
    connected: 'подключён.',
    kept: 'был подключён раньше и остаётся подключённым.',
    refused: 'не подключён: платформа отказала.',
    unclear: 'подключение не подтверждено: платформа не ответила.',
    failed: 'не подключён: у нас временная неполадка.',
  },
  assumed: 'Часовой пояс не удалось узнать, пока считаем его таким:',
  faults: {
    malformed: 'Ссылка неполная. Нажмите «Подключить» в маркетплейсе ещё раз.',
    signature: 'Подпись ссылки неверна. Нажмите «Подключить» в маркетплейсе ещё раз.',
    salons: 'В ссылке не указан салон. Нажмите «Подключить» в маркетплейсе ещё раз.',
  },
  later: 'Слишком много попыток. Попробуйте через минуту.',
  again: 'Нажмите «Подключить» ещё раз: повтор ничего не испортит.',
  notSetUp: 'Сервис ещё не настроен для подключения. Сообщите тому, кто им управляет.',
};

const ENGLISH: Words = {
  language: 'en',
  title: 'Connecting a salon',
  salon: 'Salon',
  outcomes: {
    connected: 'is connected.',
    kept: 'was connected before and stays so.',
    refused: 'is not connected: the platform refused.',
    unclear: 'is not confirmed: the platform did not answer.',
    failed: 'is not connected: something is wrong on our side for the moment.',
  },
  assumed: 'Its time zone could not be learnt, and is taken to be',
  faults: {
    malformed: 'The link is incomplete. Press “Connect” in the marketplace again.',
    signature: 'The signature of the link does not hold. Press “Connect” in the marketplace again.',
    salons: 'The link names no salon. Press “Connect” in the marketplace again.',
  },
  later: 'Too many tries. Try again in a minute.',
  again: 'Press “Connect” again: to repeat it does no harm.',
  notSetUp: 'The service is not set up for connecting yet. Tell whoever runs it.',
};

const WORDS: Readonly<Record<Brand, Words>> = { yclients: RUSSIAN, altegio: ENGLISH };

function lineOf(words: Words, { salonId, outcome, assumedZone }: SalonConnection, salonName: string): string {
  const name = salonName === '' ? '' : ` (${salonName})`;
  const zone = assumedZone === undefined ? '' : ` ${words.assumed} ${assumedZone}.`;
  return `${words.salon} ${salonId}${name} ${words.outcomes[outcome]}${zone}`;
}

function send(reply: FastifyReply, status: number, words: Words, lines: readonly string[]): FastifyReply {
  const { language, title } = words;
  return sendPage(reply, { status, language, title, body: lines.map(line => html`<p>${line}</p>`) });
}

/** `events …`, `messages …` and `stats`: looking at the inbox and the outbox. */
import { PlainError } from '../log.ts';
import { type Coverage, readCoverage, sumCoverage } from '../store/coverage.ts';
import { listEvents, listMessages, readStats, showEvent, showMessage } from '../store/views.ts';
import { type Context, more, ofCompany, parseUuid, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };
type ListOptions = Json & {
  readonly company?: number;
  readonly record?: number;
  readonly state?: string;
  readonly limit: number;
  readonly cursor?: string;
};

export async function eventsList(context: Context, options: ListOptions): Promise<void> {
  const { company, record, state, limit } = options;
  const cursor = options.cursor === undefined ? undefined : parseUuid(options.cursor, 'event');
  await withStore(context, async ({ pool }) => {
    const page = await listEvents(pool, { companyId: company, recordId: record, state, limit, cursor });
    const rows = page.items.map(event => [
      event.id,
      event.receivedAt,
      String(event.companyId),
      event.eventType,
      String(event.resourceId),
      event.effect ? `${event.state} (${event.effect})` : event.state,
      event.error ?? '',
    ]);
    const header = ['id', 'received', 'company', 'type', 'resource', 'state', 'error'];
    print(options, page, table(header, rows, 'No events.') + more(page.next));
  });
}

export async function eventsShow(context: Context, id: string, options: Json): Promise<void> {
  const eventId = parseUuid(id, 'event');
  await withStore(context, async ({ pool }) => {
    const event = await showEvent(pool, eventId);
    if (event === undefined) throw new PlainError(`there is no event ${eventId}`);
    print(options, event, JSON.stringify(event, null, 2));
  });
}

export async function messagesList(context: Context, options: ListOptions): Promise<void> {
  const { company, record, state, limit } = options;
  const cursor = options.cursor === undefined ? undefined : parseUuid(options.cursor, 'message');
  await withStore(context, async ({ pool }) => {
    const page = await listMessages(pool, { companyId: company, recordId: record, state, limit, cursor });
    const rows = page.items.map(message => [
      message.id,
      message.createdAt,
      String(message.companyId),
      message.recordId === null ? '' : String(message.recordId),
      message.kind ?? message.purpose,
      message.channel ?? '',
      message.state,
      message.error ?? '',
    ]);
    const header = ['id', 'created', 'company', 'booking', 'kind', 'channel', 'state', 'error'];
    print(options, page, table(header, rows, 'No messages.') + more(page.next));
  });
}

export async function messagesShow(context: Context, id: string, options: Json): Promise<void> {
  const messageId = parseUuid(id, 'message');
  await withStore(context, async ({ pool }) => {
    const message = await showMessage(pool, messageId);
    if (message === undefined) throw new PlainError(`there is no message ${messageId}`);
    print(options, message, `${message.trail}\n${JSON.stringify(message, null, 2)}`);
  });
}

export async function stats(context: Context, options: Json): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const counts = await readStats(pool);
    const line = (name: string, states: Record<string, number>) =>
      `${name.padEnd(10)}${
        Object.entries(states)
          .map(([state, count]) => `${state} ${count}`)
          .join(', ') || 'none'
      }`;
    const text = [
      line('events', counts.events),
      line('messages', counts.messages),
      `bookings  ${counts.bookings}`,
      `companies ${counts.companies}`,
      line('drift', counts.drift),
      `oldest unprocessed event: ${counts.oldestPendingSeconds === null ? 'none' : `${counts.oldestPendingSeconds} s`}`,
    ];
    const coverage = await readCoverage(pool, Date.now());
    const reconciliation = sumCoverage(coverage);
    const says =
      coverage.length === 0 ? [] : ['', 'last 24 hours', coverageTable(coverage), ...troublesOf(coverage)];
    print(options, { ...counts, reconciliation, coverage }, [...text, ...says].join('\n'));
  });
}

/** What webhooks brought and left out, company by company. */
function coverageTable(coverage: readonly Coverage[]): string {
  const rows = coverage.map(row => [
    String(row.companyId),
    row.source,
    String(row.webhooks),
    row.api === 'none' ? '' : String(row.missed),
    row.coveragePercent === null || row.api === 'none' ? '' : `${row.coveragePercent} %`,
    row.lagMsMean === null ? '' : `${inSeconds(row.lagMsMean)} (at most ${inSeconds(row.lagMsMax ?? 0)})`,
    String(row.apiCalls),
    intervalInWords(row),
  ]);
  const header = ['company', 'source', 'webhooks', 'missed', 'coverage', 'lag', 'API calls', 'compared'];
  return table(header, rows, '');
}

/** As it really was, not as it was set. */
function intervalInWords({ api, intervalMs, lastIntervalMs, overdueMs, progress }: Coverage): string {
  if (api === 'none') return 'never: no access to the API';
  if (api === 'importing')
    return `first import: ${progress?.read ?? 0} bookings on ${progress?.pages ?? 0} pages so far`;
  const real = lastIntervalMs === null ? '' : `, last after ${inSeconds(lastIntervalMs)}`;
  const late = overdueMs > 0 ? `, due for ${inSeconds(overdueMs)}` : '';
  return `every ${inSeconds(intervalMs ?? 0)}${real}${late}`;
}

function inSeconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}

function troublesOf(coverage: readonly Coverage[]): string[] {
  return coverage.flatMap(({ companyId, error }) => (error === null ? [] : [ofCompany(companyId, error)]));
}

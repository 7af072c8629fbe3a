/**
 * Truth on doubt: a record of which a webhook said something partial, unordered or contradictory is read again, and what
 * the platform says then settles it. Its notices wait for that; when it cannot be read, they go out with what we know.
 */
import { backoffMs } from '../domain/sweep.ts';
import { newId } from '../ids.ts';
import { insertEvents } from '../store/inbox.ts';
import { transaction } from '../store/pool.ts';
import { endReread, type Reread, retryReread } from '../store/rereads.ts';
import { ApiError, type ApiTrouble } from '../yclients/api.ts';
import { apiEvent, readAnswer } from './found.ts';
import { countCall, NO_ACCESS, type SweepDeps, setbackOf } from './sweep.ts';

/** The last try is some ten minutes after the first. */
const MAX_ATTEMPTS = 8;

export async function readAgain(deps: SweepDeps, reread: Reread): Promise<void> {
  const span = deps.tracing?.start('reconcile', null);
  const trouble = await readTraced(deps, reread, span?.traceparent ?? null);
  const about = { 'otklik.company_id': reread.companyId, 'otklik.kind': 'reread' };
  span?.end({ ...about, 'otklik.outcome': trouble ?? 'finished' }, trouble !== undefined);
}

/** What the API refused it with; undefined: it was read. */
async function readTraced(
  deps: SweepDeps,
  reread: Reread,
  traceparent: string | null,
): Promise<ApiTrouble | undefined> {
  const { companyId, recordId } = reread;
  const { owner } = deps;
  try {
    const api = await deps.apiOf(companyId);
    if (api === undefined) throw new ApiError('unauthorised', NO_ACCESS);
    // Before the call leaves: what happens while it waits for its turn may be missing in the answer.
    const readAt = deps.now();
    const record = readAnswer(await api.record(recordId), companyId, recordId);
    const status = record.body.fields.deleted ? 'delete' : 'update';
    const findId = `verify:${newId()}`;
    const about = { companyId, status, source: 'verify', readAt, findId, traceparent } as const;
    await transaction(deps.pool, async db => {
      // Also when it is what we hold: its processing lets the notices go.
      await insertEvents(db, [apiEvent(record, about)]);
      await endReread(db, { companyId, recordId, owner });
      await countCall(db, companyId, deps.now());
    });
    deps.metrics.rereads.inc({ outcome: 'read' });
    deps.onFound();
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    await giveUpOrRetry(deps, reread, error);
    return error.trouble;
  }
}

async function giveUpOrRetry(deps: SweepDeps, reread: Reread, error: ApiError): Promise<void> {
  const { companyId, recordId, attempts } = reread;
  const { owner } = deps;
  const setback = setbackOf(error);
  if (error.trouble !== 'paused') await countCall(deps.pool, companyId, deps.now());
  if (setback === 'away' && attempts < MAX_ATTEMPTS) {
    const waitMs = backoffMs(setback, attempts, deps.random(), error.retryAfterMs);
    await retryReread(deps.pool, { companyId, recordId, owner, dueAt: deps.now() + waitMs });
    deps.metrics.rereads.inc({ outcome: 'retried' });
    return;
  }
  await endReread(deps.pool, { companyId, recordId, owner });
  deps.metrics.rereads.inc({ outcome: 'given_up' });
  deps.log.warn(
    { loop: 'reconcile', company_id: companyId, outcome: error.trouble, attempts },
    'a doubtful record could not be read again; its client is told what we know',
  );
}

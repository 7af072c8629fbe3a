/**
 * Planning in the outbox: reads what is known of clients, asks the pure plan, and writes the difference. Whoever plans
 * holds the clients locked, so that no two plan for one at once.
 */
import { clientRecipient } from '../domain/notice.ts';
import { compareWithPlan, lookBackMs, type Plan, type PlanInput, plan } from '../domain/plan.ts';
import type { EpochMs } from '../domain/time.ts';
import { newId } from '../ids.ts';
import { findClientBookings, type StoredBooking } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import {
  addPlanned,
  type ClientKey,
  type ClientWishes,
  clientKey,
  findPlanned,
  lockClients,
  movePlanned,
  type PlannedRow,
  type PlannedWrite,
  type PlanRequest,
  withdrawPlanned,
} from '../store/plans.ts';
import type { Db } from '../store/pool.ts';

/** Everything that the plan of some clients looks at, besides what each wishes. */
export type Known = {
  readonly bookings: ReadonlyMap<string, readonly StoredBooking[]>;
  readonly planned: ReadonlyMap<string, readonly PlannedRow[]>;
};

/**
 * Locks these clients, plans for each as of the moment it was asked, and writes what differs from what is stored. Clients
 * of companies that are not given are left alone.
 */
export async function planClients(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  requests: readonly PlanRequest[],
  now: EpochMs,
): Promise<void> {
  const clients = requests.filter(({ companyId }) => companies.has(companyId));
  // Given together: the locks are held before the rest is read.
  const [wishes, known] = await Promise.all([
    lockClients(db, clients),
    readKnown(db, companies, clients, now),
  ]);
  const wishesOf = new Map(wishes.map(client => [clientKey(client), client]));
  const added: PlannedWrite[] = [];
  const moved: PlannedWrite[] = [];
  const withdrawn: { companyId: number; id: string; why: string }[] = [];
  for (const client of clients) {
    const company = companies.get(client.companyId);
    if (company === undefined) continue;
    const input = inputFor(known, company, client, wishesOf.get(clientKey(client)), client.requestedAt);
    const difference = compareWithPlan(openOf(known, client), plan(input));
    const write = (wanted: Plan['wanted'][number], id: string): PlannedWrite => ({
      ...wanted,
      ...{ id, companyId: client.companyId, recipient: clientRecipient(client.clientId) },
      visitAt: wanted.visit.startsAt,
    });
    added.push(...difference.add.map(wanted => write(wanted, newId())));
    moved.push(...difference.move.map(({ id, to }) => write(to, id)));
    withdrawn.push(...difference.withdraw.map(({ id, why }) => ({ companyId: client.companyId, id, why })));
  }
  // What moves away, or goes, first: its place may be taken by what is added.
  await Promise.all([
    withdrawPlanned(db, withdrawn, now),
    movePlanned(db, moved, now),
    addPlanned(db, added, now),
  ]);
}

export async function readKnown(
  db: Db,
  companies: ReadonlyMap<number, Company>,
  clients: readonly ClientKey[],
  now: EpochMs,
): Promise<Known> {
  const since = now - Math.max(0, ...[...companies.values()].map(({ policy }) => lookBackMs(policy)));
  const [bookings, planned] = await Promise.all([
    findClientBookings(db, clients, since),
    findPlanned(
      db,
      clients.map(({ companyId, clientId }) => ({ companyId, recipient: clientRecipient(clientId) })),
      since,
    ),
  ]);
  return {
    bookings: Map.groupBy(bookings, ({ companyId, booking }) => `${companyId}:${booking.fields.clientId}`),
    planned: Map.groupBy(planned, ({ companyId, recipient }) => `${companyId}:${recipient}`),
  };
}

/** What the plan is made from; the message with the id `leaving` counts as open, though it be claimed. */
export function inputFor(
  known: Known,
  company: Company,
  client: ClientKey,
  wishes: Pick<ClientWishes, 'refuses' | 'wantsAdvertising'> = { refuses: false, wantsAdvertising: false },
  now: EpochMs,
  leaving?: string,
): PlanInput {
  const rows = plannedOf(known, client);
  const isOpen = (row: PlannedRow) => row.open || row.id === leaving;
  return {
    bookings: known.bookings.get(clientKey(client)) ?? [],
    client: wishes,
    ...{ policy: company.policy, zone: company.zone, now },
    said: rows.filter(row => !isOpen(row)),
    open: rows.filter(isOpen),
  };
}

function openOf(known: Known, client: ClientKey): PlannedRow[] {
  return plannedOf(known, client).filter(row => row.open);
}

export function plannedOf(known: Known, { companyId, clientId }: ClientKey): readonly PlannedRow[] {
  return known.planned.get(`${companyId}:${clientRecipient(clientId)}`) ?? [];
}

/** What a caller asks for, found at the salon: services, staff, hours, clients. What is not there is refused with 422. */
import { type EpochMs, parseInstant, parseWall, type Wall } from '../../domain/time.ts';
import type { Client } from '../cast.ts';
import { instantAt, wallAt } from '../dates.ts';
import type { BookedService } from '../salon.ts';
import { Refusal } from './answers.ts';
import type { Branch } from './branch.ts';
import type { Call } from './route.ts';

const HOUR_SECONDS = 3600;

export function bookedServices(
  branch: Branch,
  wanted: readonly { readonly id: number; readonly amount?: number | undefined }[],
): readonly BookedService[] {
  const { services } = branch.salon().cast;
  return wanted.map(({ id, amount = 1 }) => {
    const offered = services.find(service => service.id === id);
    if (offered === undefined) throw new Refusal(422, `There is no service ${id}`);
    return { offered, amount };
  });
}

/** By `service_ids[]` of the query; an hour when it names none. */
export function durationAsked({ branch, query }: Call): number {
  const ids = [...query.getAll('service_ids[]'), ...query.getAll('service_ids')].map(Number);
  const booked = bookedServices(
    branch,
    ids.map(id => ({ id })),
  );
  return booked.reduce((sum, { offered }) => sum + offered.durationSeconds, 0) || HOUR_SECONDS;
}

export function staffMember(branch: Branch, staffId: number): number {
  if (branch.salon().cast.staff.some(({ id }) => id === staffId)) return staffId;
  throw new Refusal(422, `There is no member of staff ${staffId}`);
}

/** With an offset or in seconds since 1970 an instant, without one the salon's wall clock. */
export function momentOf(
  datetime: string | number,
  branch: Branch,
): { readonly startsLocal: Wall; readonly startsAt: EpochMs } {
  const { zone } = branch.salon();
  const instant = typeof datetime === 'number' ? datetime * 1000 : parseInstant(datetime);
  if (instant !== undefined) return { startsLocal: wallAt(instant, zone), startsAt: instant };
  const startsLocal = parseWall(String(datetime));
  if (startsLocal === undefined) throw new Refusal(422, 'datetime cannot be read');
  return { startsLocal, startsAt: instantAt(startsLocal, zone) };
}

export type ClientWish = {
  readonly id?: number | undefined;
  readonly phone?: string | undefined;
  readonly name?: string | undefined;
  readonly email?: string | undefined;
};

/** The client with that id or phone, or a new one; none at all when nobody was named. */
export function clientFor(
  branch: Branch,
  wish: ClientWish | undefined,
): { readonly clientId: number | null; readonly newClients: readonly Client[] } {
  const { clients } = branch.salon().cast;
  if (wish?.id === undefined && wish?.phone === undefined) return { clientId: null, newClients: [] };
  const digits = (phone: string) => phone.replace(/\D/g, '');
  const known = clients.find(
    one => one.id === wish.id || (wish.phone !== undefined && digits(one.phone) === digits(wish.phone)),
  );
  if (known !== undefined) return { clientId: known.id, newClients: [] };
  if (wish.phone === undefined) throw new Refusal(422, `There is no client ${wish.id}`);
  const id = Math.max(100_000_000, ...clients.map(one => one.id)) + 17;
  const { name = '', email = '' } = wish;
  const phone = `+${digits(wish.phone)}`;
  return { clientId: id, newClients: [{ id, name, surname: '', phone, email, refuses: false }] };
}

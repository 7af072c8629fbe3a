/** Events that speak of an erased client lose their people before anything is made of them. */
import type { ErasedClient } from '../store/erase.ts';
import type { PendingEvent } from '../store/inbox.ts';
import type { Vault } from '../vault.ts';
import { clientsIn, withoutPeople } from '../yclients/scrub.ts';

export type Forgotten = {
  /** What is left to be processed. */
  readonly events: readonly PendingEvent[];
  /** To be written back by `scrubEvents`: these lost their people, and all but records are done with that. */
  readonly scrubbed: readonly PendingEvent[];
};

/** What is left of events of companies of which these clients were erased; nearly always all. */
export function forgetErased(
  vault: Pick<Vault, 'hashClient'>,
  erased: readonly ErasedClient[],
  events: readonly PendingEvent[],
): Forgotten {
  if (erased.length === 0) return { events, scrubbed: [] };
  const known = new Set(erased.map(({ companyId, hash }) => `${companyId}:${hash.toString('hex')}`));
  const isErased = (companyId: number, clientId: number) =>
    known.has(`${companyId}:${vault.hashClient(companyId, clientId).toString('hex')}`);
  const left = events.map(event => {
    const { companyId, resource, resourceId, payload } = event;
    const own = resource === 'client' ? [resourceId] : [];
    const erasedIds = new Set([...own, ...clientsIn(payload)].filter(id => isErased(companyId, id)));
    if (erasedIds.size === 0) return event;
    return { ...event, payload: withoutPeople(resource, payload, id => erasedIds.has(id)) };
  });
  const scrubbed = left.filter((event, index) => event !== events[index]);
  return {
    events: left.filter(event => event.resource === 'record' || !scrubbed.includes(event)),
    scrubbed,
  };
}

/** Routes of the admin API for what came in: the same as `events …`. */
import { z } from 'zod';
import { EVENT_STATES } from '../domain/states.ts';
import { replayAll, replayOne } from '../salon/orders.ts';
import { listEvents, showEvent } from '../store/views.ts';
import { bigId, companyId, idParams, missing, page, type Route } from './route.ts';

const eventsQuery = z.object({
  company: companyId.optional(),
  record: bigId.optional(),
  state: z.enum(EVENT_STATES).optional(),
  resource: z.string().max(40).optional(),
  ...page,
});
/** Of one order: some seconds. */
const MOST = 10_000;
/** Which events are put back. */
const replayBody = z.strictObject({
  state: z.enum(['dead']),
  company: companyId.optional(),
  resource: z.string().max(40).optional(),
  dryRun: z.boolean().default(false),
});

export const EVENT_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/events',
    summary: 'Events, newest first',
    query: eventsQuery,
    answer: 'A page: items and next, the cursor of the page after it (null: none)',
    handle: ({ pool }, input) => {
      const { company, record, ...rest } = eventsQuery.parse(input.query);
      return listEvents(pool, { companyId: company, recordId: record, ...rest });
    },
  },
  {
    method: 'GET',
    path: '/events/{id}',
    summary: 'One event with its payload',
    params: idParams,
    answer: 'The event',
    handle: async ({ pool }, input) => {
      const { id } = idParams.parse(input.params);
      return (await showEvent(pool, id)) ?? missing(`event ${id}`);
    },
  },
  {
    method: 'POST',
    path: '/events/{id}/replay',
    summary: 'Put an event back to be processed again; its effect still happens once',
    params: idParams,
    answer: 'The id and the state it is in now',
    handle: async ({ pool, onReplay }, input) => {
      const { id } = idParams.parse(input.params);
      await replayOne({ pool, actor: 'api' }, id);
      onReplay();
      return { id, state: 'pending' };
    },
  },
  {
    method: 'POST',
    path: '/events/replay',
    summary: 'Put back all events that were given up, or those of a company or resource',
    body: replayBody,
    answer: 'events: how many, 10,000 at most; more: there are more; dryRun: none of them was put back',
    handle: async ({ pool, onReplay }, input) => {
      const { company, dryRun, ...filter } = replayBody.parse(input.body);
      const which = { ...filter, companyId: company };
      const put = await replayAll({ pool, actor: 'api' }, which, { dryRun, most: MOST });
      onReplay();
      return { ...put, dryRun };
    },
  },
];

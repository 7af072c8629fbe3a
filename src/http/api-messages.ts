/** Routes of the admin API for what went out: the same as `messages …`. */
import { z } from 'zod';
import { CHANNEL_NAMES } from '../channels/channel.ts';
import { MESSAGE_STATES } from '../domain/states.ts';
import { cancelOne, resendAll, resendOne } from '../salon/orders.ts';
import { listMessages, showMessage } from '../store/views.ts';
import { bigId, companyId, idParams, missing, page, type Route } from './route.ts';

const DAY_MS = 86_400_000;
/** Of one order: some seconds. */
const MOST = 1_000;

const messagesQuery = z.object({
  company: companyId.optional(),
  record: bigId.optional(),
  state: z.enum(MESSAGE_STATES).optional(),
  ...page,
});
/** Which messages are sent after all. `since`: they ended then or later; a day back unless given. */
const resendBody = z.strictObject({
  state: z.enum(['dead', 'failed']),
  company: companyId.optional(),
  channel: z.enum(CHANNEL_NAMES).optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  dryRun: z.boolean().default(false),
});

export const MESSAGE_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/messages',
    summary: 'Messages, newest first',
    query: messagesQuery,
    answer: 'A page: items and next, the cursor of the page after it (null: none)',
    handle: ({ pool }, input) => {
      const { company, record, ...rest } = messagesQuery.parse(input.query);
      return listMessages(pool, { companyId: company, recordId: record, ...rest });
    },
  },
  {
    method: 'GET',
    path: '/messages/{id}',
    summary: 'One message with every attempt, receipt and fall, and its route in words (`trail`)',
    params: idParams,
    answer: 'The message',
    handle: async ({ pool }, input) => {
      const { id } = idParams.parse(input.params);
      return (await showMessage(pool, id)) ?? missing(`message ${id}`);
    },
  },
  {
    method: 'POST',
    path: '/messages/{id}/resend',
    summary: 'Send a message that failed or was given up, if it is still true and wanted when it leaves',
    params: idParams,
    answer: 'The id and the state it is in now',
    handle: async ({ pool, onResend }, input) => {
      const { id } = idParams.parse(input.params);
      await resendOne({ pool, actor: 'api' }, id, Date.now());
      onResend();
      return { id, state: 'due' };
    },
  },
  {
    method: 'POST',
    path: '/messages/{id}/cancel',
    summary: 'Do not send a message that is due; what it says counts as said',
    params: idParams,
    answer: 'The id and the state it is in now',
    handle: async ({ pool }, input) => {
      const { id } = idParams.parse(input.params);
      await cancelOne({ pool, actor: 'api' }, id, Date.now());
      return { id, state: 'cancelled' };
    },
  },
  {
    method: 'POST',
    path: '/messages/resend',
    summary: 'The same for all that ended so within a day or since a moment, 1,000 at most',
    body: resendBody,
    answer:
      'due: how many are put back; taken: left, since a newer one stands in their place; more: there are more; dryRun: none was put back',
    handle: async ({ pool, onResend }, input) => {
      const { company, since, dryRun, ...filter } = resendBody.parse(input.body);
      const now = Date.now();
      const resent = await resendAll(
        { pool, actor: 'api' },
        { ...filter, companyId: company, since: since === undefined ? now - DAY_MS : Date.parse(since) },
        { dryRun, most: MOST, now },
      );
      onResend();
      return { ...resent, dryRun };
    },
  },
];

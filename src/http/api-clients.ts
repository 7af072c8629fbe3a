/**
 * Routes of the admin API for a client: the same as `client …`. A phone is looked for by a body and not by a path, which
 * proxies write down.
 */
import { z } from 'zod';
import { CHANNEL_NAMES } from '../channels/channel.ts';
import { findClients, setConsent, showClients } from '../salon/clients.ts';
import { bigId, companyParams, type Route } from './route.ts';

const params = z.object({ ...companyParams.shape, client: bigId });
const search = z.strictObject({ phone: z.string().min(5).max(40) });
const consent = z.strictObject({
  granted: z.boolean(),
  /** Every channel, unless given. */
  channel: z.enum(CHANNEL_NAMES).optional(),
  /** What is refused is refused whole, what is allowed is messages about visits, unless given. */
  category: z.enum(['service', 'advertising']).optional(),
  /** Whose word it is and how it came: part of the proof. */
  reason: z.string().trim().min(1).max(200),
});

export const CLIENT_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/companies/{company}/clients/search',
    changesNothing: true,
    summary: 'Clients with a phone, however it is written',
    params: companyParams,
    body: search,
    answer: 'items: as of one client',
    handle: async ({ pool }, input) => {
      const { company } = companyParams.parse(input.params);
      return { items: await findClients(pool, company, search.parse(input.body).phone) };
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/clients/{client}',
    summary: 'A client: card, addresses, chats, consents with their proof, and what they were told last',
    params,
    answer:
      'clientId, name, phone, email, refuses, wantsAdvertising, deleted, addresses, chats, consents, messages',
    handle: async ({ pool }, input) => {
      const { company, client } = params.parse(input.params);
      const [shown] = await showClients(pool, company, { clientId: client });
      return shown;
    },
  },
  {
    method: 'POST',
    path: '/companies/{company}/clients/{client}/consents',
    summary: 'Keep, with its proof, that a client allows or refuses messages',
    params,
    body: consent,
    answer: 'clientIds, and where it counts from now on: channel/category, `*` being every channel',
    handle: async ({ pool }, input) => {
      const { company, client } = params.parse(input.params);
      const { granted, channel, category, reason } = consent.parse(input.body);
      return setConsent(
        { pool, actor: 'api' },
        company,
        { clientId: client },
        {
          ...{ granted, channel, category, reason },
        },
      );
    },
  },
];

/** Who and what there is: the company, its clients, services and staff. */

import { z } from 'zod';
import { clientBody, nothingOf, officeDate, serviceBody, staffBody } from '../backoffice.ts';
import type { Client } from '../cast.ts';
import { offsetMinutes } from '../dates.ts';
import type { JsonObject } from '../webhook.ts';
import { type Answer, Refusal } from './answers.ts';
import { type Call, idParam, type Route } from './route.ts';

export const DIRECTORY_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/api/v1/company/:company',
    operation: 'company',
    needs: 'partner',
    handle: company,
  },
  {
    method: 'POST',
    path: '/api/v1/company/:company/clients/search',
    operation: 'clients',
    needs: 'clients',
    handle: searchClients,
  },
  {
    method: 'GET',
    path: '/api/v1/client/:company/:client',
    operation: 'client',
    needs: 'clients',
    handle: client,
  },
  ...['/api/v1/company/:company/services', '/api/v1/services/:company'].map(
    (path): Route => ({ method: 'GET', path, operation: 'services', needs: 'partner', handle: services }),
  ),
  ...['/api/v1/company/:company/staff', '/api/v1/staff/:company'].map(
    (path): Route => ({ method: 'GET', path, operation: 'staff', needs: 'partner', handle: staff }),
  ),
];

function company(call: Call): Answer {
  const { companyId, cast } = call.branch.salon();
  const title = { title: cast.title, public_title: cast.title };
  return { data: { id: companyId, ...title, active: 1, country_id: 1, city_id: 1, ...zoneOf(call) } };
}

function zoneOf({ branch, quirks, now }: Call): JsonObject {
  const { zone } = branch.salon();
  const hours = offsetMinutes(now, zone) / 60;
  switch (quirks.companyZone) {
    case 'timezone_name':
      return { timezone: hours, timezone_name: zone };
    case 'timezone':
      return { timezone: zone };
    case 'hours':
      return { timezone: hours };
  }
}

const search = z.object({
  page: z.coerce.number().int().positive().catch(1),
  page_size: z.coerce.number().int().positive().catch(25),
  fields: z.array(z.string()).catch(['id']),
  filters: z.array(z.unknown()).catch([]),
});
const quickSearch = z.object({
  type: z.literal('quick_search'),
  state: z.object({ value: z.coerce.string() }),
});
const MOST_PAGE_SIZE = 200;

/** Only the fields that were asked for, and the id alone when none was. */
function searchClients(call: Call): Answer {
  const { page, page_size, fields, filters } = search.parse(call.body ?? {});
  const wanted = filters.flatMap(filter => quickSearch.safeParse(filter).data?.state.value ?? []);
  const found = call.branch.salon().cast.clients.filter(one => wanted.every(text => mentions(one, text)));
  const size = Math.min(page_size, MOST_PAGE_SIZE);
  const data = found.slice((page - 1) * size, page * size).map(one => {
    const entries = Object.entries(bodyOf(one, call));
    return Object.fromEntries(entries.filter(([name]) => name === 'id' || fields.includes(name)));
  });
  return { data, meta: { total_count: found.length } };
}

function mentions({ name, surname, phone, email }: Client, text: string): boolean {
  return [name, surname, phone, email].some(field => field.toLowerCase().includes(text.toLowerCase()));
}

function client(call: Call): Answer {
  const id = idParam(call, 'client');
  const found = call.branch.salon().cast.clients.find(one => one.id === id);
  if (found === undefined) throw new Refusal(404, 'Client not found');
  return { data: bodyOf(found, call) };
}

function bodyOf(one: Client, { random, now }: Call): JsonObject {
  return clientBody(one, { random, date: officeDate(now), nothing: () => nothingOf(random) });
}

function services({ branch }: Call): Answer {
  const { services: offered, staff: members } = branch.salon().cast;
  const data = offered.map(service => ({
    ...serviceBody(service),
    staff: members.map(({ id }) => ({ id, seance_length: service.durationSeconds })),
  }));
  return { data, meta: { count: data.length } };
}

function staff({ branch }: Call): Answer {
  const data = branch.salon().cast.staff.map(member => ({
    ...staffBody(member),
    company_id: branch.companyId,
    bookable: true,
  }));
  return { data, meta: { total_count: data.length } };
}

/** Calls that change the journal. Each makes the webhooks that the same change at the desk would make. */
import { z } from 'zod';
import { durationOf, type Maker, type SalonRecord } from '../salon.ts';
import { type Answer, Refusal } from './answers.ts';
import { taken } from './booking-form-routes.ts';
import { bodyOf } from './records-routes.ts';
import { type Call, idParam, type Route } from './route.ts';
import { isFreeAt } from './slots.ts';
import { bookedServices, clientFor, momentOf, staffMember } from './wishes.ts';
import { attendanceKind, change, companionsOf, creation } from './writes.ts';

const RECORD = '/api/v1/record/:company/:record';

export const WRITING_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/api/v1/records/:company',
    operation: 'create',
    needs: 'records',
    handle: create,
  },
  {
    method: 'POST',
    path: '/api/v1/book_record/:company',
    operation: 'book',
    needs: 'partner',
    handle: book,
  },
  {
    method: 'PUT',
    path: '/api/v1/book_record/:company/:record',
    operation: 'move',
    needs: 'partner',
    handle: move,
  },
  {
    method: 'PUT',
    path: '/api/v1/visits/:visit/:record',
    operation: 'attendance',
    needs: 'records',
    handle: setAttendance,
  },
  { method: 'PUT', path: RECORD, operation: 'replace', needs: 'records', handle: replace },
  { method: 'DELETE', path: RECORD, operation: 'delete', needs: 'records', handle: remove },
];

/** The system user in whose name the API writes. */
const API_USER_ID = 12_800_001;
const BY_API: Maker = { online: false, recordFrom: '', bookformId: 0, createdUserId: API_USER_ID };
const BY_FORM: Maker = { online: true, recordFrom: 'API', bookformId: 0, createdUserId: 0 };

const clientWish = z.object({
  id: z.coerce.number().optional(),
  phone: z.coerce.string().optional(),
  name: z.coerce.string().optional(),
  email: z.string().optional(),
});
const datetime = z.union([z.string(), z.number()]);
const flag = z.union([z.boolean(), z.number(), z.string()]).transform(value => Boolean(Number(value)));

const wholeRecord = z.object({
  staff_id: z.coerce.number(),
  services: z.array(z.object({ id: z.coerce.number(), amount: z.number().optional() })),
  client: clientWish.nullish(),
  datetime,
  seance_length: z.coerce.number().positive().optional(),
  save_if_busy: flag.default(false),
  comment: z.string().default(''),
  attendance: z.literal([-1, 0, 1, 2]).default(0),
  api_id: z.string().optional(),
});

function create(call: Call): Answer {
  const { api_id, ...wish } = read(wholeRecord, call);
  const { fields, newClients } = recordOf(wish, call);
  const seed = { ...fields, maker: BY_API, ...(api_id === undefined ? {} : { apiId: api_id }) };
  return written(call, creation(call.branch.salon(), seed, call.now), newClients, 201);
}

const formRecord = z.object({
  phone: z.coerce.string(),
  fullname: z.string().default(''),
  email: z.string().default(''),
  comment: z.string().default(''),
  api_id: z.string().optional(),
  appointments: z
    .array(
      z.object({
        id: z.coerce.number().default(1),
        staff_id: z.coerce.number(),
        services: z.array(z.coerce.number()),
        datetime,
      }),
    )
    .min(1),
});

/** As a client does on the salon's page. Each appointment is a record of its own. */
function book(call: Call): Answer {
  const { phone, fullname, email, comment, api_id, appointments } = read(formRecord, call);
  const apiId = api_id === undefined ? {} : { apiId: api_id };
  const data = appointments.map(({ id, staff_id, services, datetime: asked }) => {
    const wish = {
      staff_id,
      services: services.map(service => ({ id: service })),
      client: { phone, name: fullname, email },
      datetime: asked,
      save_if_busy: false,
      comment,
    };
    const { fields, newClients } = recordOf(wish, call);
    const action = creation(call.branch.salon(), { ...fields, maker: BY_FORM, ...apiId }, call.now);
    call.write({ action, newClients });
    const recordId = action.changes[0]?.after.id ?? 0;
    return { id, record_id: recordId, record_hash: `simulated${recordId}` };
  });
  return { status: 201, data };
}

const moveWish = z.object({ datetime, comment: z.string().optional() });

function move(call: Call): Answer {
  const record = standing(call);
  const wish = read(moveWish, call);
  const moment = momentOf(wish.datetime, call.branch);
  if (moment.startsAt <= call.now) throw new Refusal(422, 'The time is over');
  if (!isFreeAt(call.branch, record.staffId, moment.startsAt, record.durationSeconds, record.id))
    throw taken();
  const patch = { ...moment, comment: wish.comment ?? record.comment };
  return written(call, change('reschedule', record, patch, call.now));
}

const visitWish = z.object({ attendance: z.literal([-1, 0, 1, 2]), comment: z.string() });

/** The whole visit is touched: its other records fire an event too, with the same date of change. */
function setAttendance(call: Call): Answer {
  const record = standing(call);
  const { attendance, comment } = read(visitWish, call);
  const kind = attendanceKind(attendance, record, call.now);
  const others = companionsOf(record, call.branch);
  return written(call, change(kind, record, { attendance, comment }, call.now, others));
}

/** What the body leaves out is empty afterwards: the client, the comment, the attendance. */
function replace(call: Call): Answer {
  const record = standing(call);
  const wish = read(wholeRecord, call);
  const { fields, newClients } = recordOf(wish, call, record.id);
  const patch = { ...fields, attendance: wish.attendance };
  return written(call, change('change_several', record, patch, call.now), newClients);
}

function remove(call: Call): Answer {
  const action = change('delete', standing(call), { deleted: true }, call.now);
  call.write({ action, newClients: [] });
  return { status: 204, data: null };
}

type Wish = Omit<z.infer<typeof wholeRecord>, 'attendance' | 'api_id'>;

function recordOf(wish: Wish, { branch }: Call, recordId?: number) {
  const services = bookedServices(branch, wish.services);
  const { clientId, newClients } = clientFor(branch, wish.client ?? undefined);
  const moment = momentOf(wish.datetime, branch);
  const staffId = staffMember(branch, wish.staff_id);
  const durationSeconds = wish.seance_length ?? durationOf(services);
  if (!wish.save_if_busy && !isFreeAt(branch, staffId, moment.startsAt, durationSeconds, recordId))
    throw taken();
  const { comment } = wish;
  return { fields: { ...moment, staffId, services, durationSeconds, clientId, comment }, newClients };
}

function standing(call: Call): SalonRecord {
  const record = call.branch.record(idParam(call, 'record'));
  if (record === undefined || record.deleted) throw new Refusal(404, 'Record not found');
  return record;
}

function read<T>(shape: z.ZodType<T>, { body }: Call): T {
  const { data, error } = shape.safeParse(body);
  if (error === undefined) return data;
  const fields = error.issues.map(({ path, message }) => [path.join('.'), [message]] as const);
  throw new Refusal(422, 'Validation failed', Object.fromEntries(fields));
}

function written(
  call: Call,
  action: ReturnType<typeof change>,
  newClients: ReturnType<typeof clientFor>['newClients'] = [],
  status = 200,
): Answer {
  call.write({ action, newClients });
  const [first] = action.changes;
  return { status, data: first === undefined ? null : bodyOf(first.after, call) };
}

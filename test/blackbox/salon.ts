/** Webhooks as the platform makes them, after the shapes of its documents. Invented people. */

export type Status = 'create' | 'update' | 'delete';
export type Data = Readonly<Record<string, unknown>>;
export type Event = {
  company_id: number;
  resource: string;
  resource_id: number;
  status: string;
  data: unknown;
};

const DAY_MS = 86_400_000;
/** Of all days of a file: what is sent before midnight and what is expected of it after are of one. */
const TODAY = Date.now();

/** An instant as records carry it: `2026-04-20T12:36:27+0300`, whole seconds. */
export function instant(secondsFromNow: number): string {
  const moscow = new Date(Math.floor(Date.now() / 1000) * 1000 + secondsFromNow * 1000 + 3 * 3_600_000);
  return `${moscow.toISOString().slice(0, 19)}+0300`;
}

/** A salon's wall clock that many days from today, as `date` carries it: `2026-04-20 18:30:00`. */
export function wallClock(daysFromToday: number, time = '14:30:00'): string {
  return `${new Date(TODAY + daysFromToday * DAY_MS).toISOString().slice(0, 10)} ${time}`;
}

export const HAIRCUT = { id: 5001, title: 'Стрижка', cost: 2500, cost_to_pay: 2500, discount: 0, amount: 1 };
export const COLOURING = {
  id: 5002,
  title: 'Окрашивание',
  cost: 6000,
  cost_to_pay: 6000,
  discount: 0,
  amount: 1,
};
export const MASTER = {
  id: 701,
  name: 'Мария',
  specialization: 'Стилист',
  position: { id: 3, title: 'Стилист' },
};
export const OTHER_MASTER = { id: 702, name: 'Светлана', specialization: 'Стилист', position: [] };

export function client(id: number, fields: Data = {}): Data {
  return {
    id,
    name: `Анна${id}`,
    surname: '',
    patronymic: '',
    display_name: `Анна${id}`,
    phone: phoneOf(id),
    email: '',
    success_visits_count: 3,
    fail_visits_count: 0,
    discount: 0,
    custom_fields: [],
    ...fields,
  };
}

export function phoneOf(clientId: number): string {
  return `+7999555${String(clientId % 10_000).padStart(4, '0')}`;
}

/** A whole booking, made just now, in a week. `version` is seconds from now of its last change. */
export function booking(companyId: number, recordId: number, fields: Data = {}, version = 0): Data {
  const date = typeof fields.date === 'string' ? fields.date : wallClock(7);
  return {
    id: recordId,
    company_id: companyId,
    staff_id: MASTER.id,
    staff: MASTER,
    visit_id: recordId + 100_000,
    activity_id: 0,
    clients_count: 1,
    date,
    datetime: `${date.replace(' ', 'T')}+03:00`,
    seance_length: 3600,
    length: 3600,
    create_date: instant(0),
    last_change_date: instant(version),
    attendance: 0,
    visit_attendance: 0,
    confirmed: 1,
    deleted: false,
    online: false,
    record_from: '',
    bookform_id: 0,
    is_mobile: 0,
    from_url: '',
    api_id: '01effc9e-09da-4db1-98a1-e317b214df2c',
    created_user_id: 12_795_431,
    comment: '',
    paid_full: 0,
    prepaid: false,
    prepaid_confirmed: false,
    sms_before: 1,
    sms_remain_hours: null,
    services: [HAIRCUT],
    client: client(recordId),
    comer: null,
    record_labels: [],
    custom_fields: [],
    documents: [],
    goods_transactions: [],
    composite: [],
    short_link: 'https://example.test/c/x/',
    ...fields,
  };
}

export function event(companyId: number, resource: string, id: number, status: string, data: unknown): Event {
  return { company_id: companyId, resource, resource_id: id, status, data };
}

/** A webhook of one booking. */
export function record(companyId: number, id: number, status: Status, fields: Data = {}, version = 0): Event {
  return event(companyId, 'record', id, status, booking(companyId, id, fields, version));
}

/**
 * Bodies without the people in them. A record keeps what a booking is made of, by allow-list, so that it can still be
 * merged and replayed; of anything else only the envelope is kept.
 */

/** A parsed body as the inbox keeps it. */
type Payload = { readonly [name: string]: unknown };

/** Fields of a record that say nothing of its client. `api_id` is not among them: a bot may put a chat's id into it. */
const RECORD_FIELDS = [
  'id',
  'company_id',
  'visit_id',
  'date',
  'datetime',
  'seance_length',
  'length',
  'staff_id',
  'attendance',
  'deleted',
  'paid_full',
  'create_date',
  'last_change_date',
  'online',
  'record_from',
  'bookform_id',
  'created_user_id',
];

/** The ids of the clients that a body speaks of, wherever it does: `client: {id}` and `client_id`. */
export function clientsIn(value: unknown): number[] {
  if (Array.isArray(value)) return value.flatMap(clientsIn);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    if (name === 'client_id') return idsOf(inner);
    const own = name === 'client' && isObject(inner) ? idsOf(inner.id) : [];
    return [...own, ...clientsIn(inner)];
  });
}

function idsOf(value: unknown): number[] {
  const number = typeof value === 'string' ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number > 0 ? [number] : [];
}

/**
 * The body without its people. Where a record's client is erased it is said to have none; another's id stays, since
 * the booking is theirs.
 */
export function withoutPeople(
  resource: string,
  payload: Payload,
  isErased: (clientId: number) => boolean,
): Payload {
  const { company_id, resource_id, status } = payload;
  const envelope = { company_id, resource: payload.resource, status };
  if (resource === 'client') return envelope;
  if (resource !== 'record' || !isObject(payload.data)) return { ...envelope, resource_id };
  const { staff, services, client, ...data } = payload.data;
  const [clientId] = isObject(client) ? idsOf(client.id) : [];
  const theirs = clientId !== undefined && !isErased(clientId) ? { id: clientId } : null;
  return {
    ...envelope,
    resource_id,
    data: {
      ...pick(data, RECORD_FIELDS),
      ...(isObject(staff) ? { staff: pick(staff, ['id', 'name']) } : {}),
      ...(Array.isArray(services)
        ? { services: services.filter(isObject).map(item => pick(item, ['id', 'title', 'amount'])) }
        : {}),
      // Absent says nothing, null says that there is none.
      ...(client === undefined ? {} : { client: theirs }),
    },
  };
}

function pick(object: Payload, names: readonly string[]): Payload {
  return Object.fromEntries(
    names.filter(name => Object.hasOwn(object, name)).map(name => [name, object[name]]),
  );
}

function isObject(value: unknown): value is Payload {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** People and entities: our copies of clients, staff, services and the rest. The latest version of each field wins. */
import type { EpochMs } from '../domain/time.ts';
import type { Db } from './pool.ts';

/** What one body said of a person, at one version. A field it did not mention is absent. */
export type PersonUpdate = {
  readonly companyId: number;
  readonly clientId: number;
  readonly version: EpochMs;
  readonly name?: string;
  readonly phone?: string;
  readonly email?: string;
  readonly refuses?: boolean;
  readonly newsletter?: boolean;
  readonly deleted?: boolean;
};

const PERSON_FIELDS = ['name', 'phone', 'email', 'refuses', 'newsletter', 'deleted'] as const;
type PersonField = (typeof PERSON_FIELDS)[number];

/** Merges people, in key order so that two callers cannot deadlock; at most one row a person in one statement. */
export async function savePeople(db: Db, updates: readonly PersonUpdate[]): Promise<void> {
  if (updates.length === 0) return;
  await db.query({
    name: 'save_people',
    text: `
      INSERT INTO people AS p (company_id, client_id, name, name_version, phone, phone_version, email, email_version,
        refuses, refuses_version, newsletter, newsletter_version, deleted, deleted_version)
      SELECT company_id, client_id,
        coalesce(name, ''), coalesce(name_version, '-infinity'),
        coalesce(phone, ''), coalesce(phone_version, '-infinity'),
        coalesce(email, ''), coalesce(email_version, '-infinity'),
        coalesce(refuses, false), coalesce(refuses_version, '-infinity'),
        coalesce(newsletter, false), coalesce(newsletter_version, '-infinity'),
        coalesce(deleted, false), coalesce(deleted_version, '-infinity')
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, client_id bigint, name text, name_version timestamptz,
        phone text, phone_version timestamptz, email text, email_version timestamptz, refuses boolean,
        refuses_version timestamptz, newsletter boolean, newsletter_version timestamptz, deleted boolean, deleted_version timestamptz)
      ORDER BY company_id, client_id
      ON CONFLICT (company_id, client_id) DO UPDATE SET
        ${PERSON_FIELDS.map(
          name => `${name} = CASE WHEN EXCLUDED.${name}_version >= p.${name}_version
          THEN EXCLUDED.${name} ELSE p.${name} END,
        ${name}_version = greatest(EXCLUDED.${name}_version, p.${name}_version)`,
        ).join(', ')}`,
    values: [JSON.stringify([...foldPeople(updates).values()])],
  });
}

type PersonRow = Record<string, unknown>;

/** One row a person: of several updates in one batch each field keeps its latest. */
function foldPeople(updates: readonly PersonUpdate[]): Map<string, PersonRow> {
  const rows = new Map<string, PersonRow>();
  const versions = new Map<string, EpochMs>();
  for (const update of updates) {
    const key = `${update.companyId}:${update.clientId}`;
    const row = rows.get(key) ?? { company_id: update.companyId, client_id: update.clientId };
    rows.set(key, row);
    for (const name of PERSON_FIELDS) takeField(row, versions, key, name, update);
  }
  return rows;
}

function takeField(
  row: PersonRow,
  versions: Map<string, EpochMs>,
  key: string,
  name: PersonField,
  update: PersonUpdate,
): void {
  if (update[name] === undefined) return;
  const held = versions.get(`${key}:${name}`);
  if (held !== undefined && held > update.version) return;
  versions.set(`${key}:${name}`, update.version);
  row[name] = update[name];
  row[`${name}_version`] = new Date(update.version).toISOString();
}

export type EntityUpdate = {
  readonly companyId: number;
  readonly resource: string;
  readonly resourceId: number;
  readonly title: string | undefined;
  readonly data: Record<string, unknown>;
  readonly deleted: boolean;
  readonly version: EpochMs;
};

/** Merges copies of other resources; a staler body changes nothing. At most one row a resource in one statement. */
export async function saveEntities(db: Db, updates: readonly EntityUpdate[]): Promise<void> {
  if (updates.length === 0) return;
  const latest = new Map<string, EntityUpdate>();
  for (const update of updates) {
    const key = `${update.companyId}:${update.resource}:${update.resourceId}`;
    const held = latest.get(key);
    if (held === undefined || held.version <= update.version) latest.set(key, update);
  }
  await db.query({
    name: 'save_entities',
    text: `
      INSERT INTO entities AS e (company_id, resource, resource_id, title, data, deleted, version)
      SELECT company_id, resource, resource_id, coalesce(title, ''), data, deleted, version
      FROM jsonb_to_recordset($1::jsonb) AS r (company_id int, resource text, resource_id bigint, title text,
        data jsonb, deleted boolean, version timestamptz)
      ORDER BY company_id, resource, resource_id
      ON CONFLICT (company_id, resource, resource_id) DO UPDATE SET
        title = coalesce(nullif(EXCLUDED.title, ''), e.title), data = e.data || EXCLUDED.data,
        deleted = EXCLUDED.deleted, version = EXCLUDED.version, updated_at = now()
      WHERE EXCLUDED.version >= e.version`,
    values: [
      JSON.stringify(
        [...latest.values()].map(({ companyId, resourceId, version, ...rest }) => ({
          ...rest,
          company_id: companyId,
          resource_id: resourceId,
          version: new Date(version).toISOString(),
        })),
      ),
    ],
  });
}

/** By which channels the messages of a preview would reach the client, one after another while none does. */
import type { Channel, ChannelName } from '../channels/channel.ts';
import { clientRecipient } from '../domain/notice.ts';
import { CATEGORY_OF, type PlannedPurpose } from '../domain/plan.ts';
import { type Category, type PolicyDocument, policyOf } from '../domain/policy.ts';
import type { EpochMs } from '../domain/time.ts';
import { bookingKey, findBookings } from '../store/bookings.ts';
import { type Contact, findContacts } from '../store/messages.ts';
import type { Db } from '../store/pool.ts';
import { findReached, findReceiptGivers } from '../store/reached.ts';
import { type RouteAhead, routeAhead } from '../work/route.ts';
import { requireCompany } from './companies.ts';
import type { Preview } from './preview.ts';

export type PreviewRoute = Omit<RouteAhead, 'steps'> & {
  readonly category: Category;
  /** `tells`: its provider has told of this company's messages before; until then its silence says nothing. */
  readonly steps: readonly (RouteAhead['steps'][number] & { readonly tells: boolean })[];
};

export type PreviewRoutes = {
  /** The client wants no messages at all: nothing leaves. */
  readonly refuses: boolean;
  /** One for each category of what the client would be told. */
  readonly routes: readonly PreviewRoute[];
};

export async function previewRoutes(
  db: Db,
  channels: ReadonlyMap<ChannelName, Channel>,
  preview: Preview,
  { document, now }: { readonly document?: PolicyDocument | undefined; readonly now: EpochMs },
): Promise<PreviewRoutes> {
  const { companyId } = preview;
  const known = await requireCompany(db, companyId);
  const company = document === undefined ? known : { ...known, policy: policyOf(document) };
  const client = await clientOf(db, preview);
  const recipient = client === null ? '' : clientRecipient(client.clientId);
  const reached = client === null ? [] : await findReached(db, [{ companyId, recipient }]);
  const givers = await findReceiptGivers(db, [companyId]);
  const routes = categoriesOf(preview).map(category => {
    const { steps, leftOut } = routeAhead({ channels, reached, now }, company, category, client);
    const told = steps.map(step => ({
      ...step,
      tells: givers.some(({ channel, provider }) => channel === step.channel && provider === step.provider),
    }));
    return { category, steps: told, leftOut };
  });
  return { refuses: client?.refuses ?? false, routes };
}

/** Null: of a visit that there might be, of somebody or other. */
async function clientOf(db: Db, { companyId, booking }: Preview): Promise<Contact | null> {
  const [recordId = 0] = booking.records;
  const key = { companyId, recordId };
  const stored = (await findBookings(db, [key])).get(bookingKey(key));
  const clientId = stored?.booking.fields.clientId;
  if (typeof clientId !== 'number') return null;
  return (await findContacts(db, [{ companyId, clientId }]))[0] ?? null;
}

function categoriesOf({ changes, messages }: Preview): Category[] {
  const told = changes.some(({ to }) => to.includes('client')) ? (['notices'] as const) : [];
  const planned = messages.map(({ purpose }) => CATEGORY_OF[purpose as PlannedPurpose]);
  return [...new Set([...told, ...planned])];
}

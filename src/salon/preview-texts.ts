/** What the messages of a preview would read like, and how many SMS each is: a part is what is paid for. */
import { fit } from '../channels/sms.ts';
import { clientRecipient, type Facts, factsFor, type NoticeKind } from '../domain/notice.ts';
import type { PlannedPurpose } from '../domain/plan.ts';
import { NOTICE_KINDS } from '../domain/policy.ts';
import { smsParts } from '../domain/sms.ts';
import type { Texts } from '../domain/text.ts';
import { bookingKey, findBookings } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import { type Contact, findContacts, type SaidRecord } from '../store/messages.ts';
import type { Db } from '../store/pool.ts';
import { findTemplates, templateKey } from '../store/templates.ts';
import { NOTHING, renderSafely, type Saying } from '../work/saying.ts';
import { requireCompany } from './companies.ts';
import type { Preview } from './preview.ts';

export type PreviewText = {
  /** A change, or the purpose of a planned message. */
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
  /** Whole; what goes beyond SMS_MAX_PARTS is cut. */
  readonly smsParts: number;
};

/** A text for each change that the client would be told of, and for each purpose that is planned. */
export async function previewTexts(
  db: Db,
  texts: Texts,
  { companyId, booking, changes, messages }: Preview,
): Promise<PreviewText[]> {
  const company = await requireCompany(db, companyId);
  const { records, contact } = await shownOf(db, company, booking);
  const [first] = records;
  if (first === undefined) return [];
  const own = await findTemplates(db, [companyId]);
  const templates = new Map(own.map(template => [templateKey(template), template.source]));
  const { recordId: _, ...facts } = first;
  const told = changes.filter(({ to }) => to.includes('client')).map(({ kind }) => kind);
  const sayings: { kind: string; purpose: 'notice' | PlannedPurpose; saying: Saying }[] = [
    ...NOTICE_KINDS.filter(kind => told.includes(kind)).map(kind => ({
      ...{ kind, purpose: 'notice' as const, saying: { ...NOTHING, notice: noticeOf(kind, facts) } },
    })),
    ...[...new Set(messages.map(({ purpose }) => purpose as PlannedPurpose))].map(purpose => ({
      ...{ kind: purpose, purpose, saying: { ...NOTHING, visit: records } },
    })),
  ];
  return sayings.flatMap(({ kind, purpose, saying }) => {
    const speaking = { client: contact, origin: booking.origin };
    const message = { purpose, recipient: '' };
    const text = renderSafely(texts, { templates }, company, speaking, message, saying);
    return text === undefined
      ? []
      : [{ kind, ...text, smsParts: smsParts(fit(text.text, Number.MAX_SAFE_INTEGER)) }];
  });
}

/** The records of the visit, or one that there might be, with nothing known but its hour. */
async function shownOf(
  db: Db,
  { companyId, zone }: Company,
  { records, startsLocal }: Preview['booking'],
): Promise<{ records: SaidRecord[]; contact: Contact | undefined }> {
  const stored = await findBookings(
    db,
    records.filter(recordId => recordId > 0).map(recordId => ({ companyId, recordId })),
  );
  const said = records.flatMap(recordId => {
    const fields = stored.get(bookingKey({ companyId, recordId }));
    const clientId = fields?.booking.fields.clientId;
    if (fields === undefined || typeof clientId !== 'number') return [];
    const facts = factsFor(clientRecipient(clientId), fields.booking, zone);
    return facts === null ? [] : [{ clientId, record: { recordId, ...facts } }];
  });
  const [first] = said;
  if (first !== undefined) {
    const [contact] = await findContacts(db, [{ companyId, clientId: first.clientId }]);
    return { records: said.map(({ record }) => record), contact };
  }
  if (startsLocal === null) return { records: [], contact: undefined };
  const facts: Facts = { status: 'booked', startsLocal, staffId: null, staffName: '', services: [] };
  return { records: [{ recordId: 0, ...facts }], contact: undefined };
}

/** A change of this kind, with what was before as it is now: how it differed nobody knows. */
function noticeOf(kind: NoticeKind, facts: Facts): Saying['notice'] {
  switch (kind) {
    case 'booked':
      return { kind, before: null, after: facts };
    case 'cancelled':
      return { kind, before: facts, after: { ...facts, status: 'cancelled' } };
    case 'restored':
      return { kind, before: { ...facts, status: 'cancelled' }, after: facts };
    case 'rescheduled':
    case 'staff_changed':
    case 'services_changed':
    case 'changed':
    case 'confirmed':
    case 'move_asked':
      return { kind, before: facts, after: facts };
  }
}

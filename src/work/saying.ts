/**
 * What a message says and what can be answered to it, composed at the claim: text, buttons, links, and until when it is
 * of use. Pure.
 */
import { type Button, type Channel, type ChannelName, OPERATOR, type Outgoing } from '../channels/channel.ts';
import { writePress } from '../domain/answer.ts';
import type { SpokenChange } from '../domain/batch.ts';
import type { Digest } from '../domain/digest.ts';
import { clientIdOf, type Facts, type Notice } from '../domain/notice.ts';
import type { Origin } from '../domain/origin.ts';
import { PHRASES } from '../domain/phrases.ts';
import { type Audience, audienceOf, isTeam, staffIdOf } from '../domain/team.ts';
import type { TextKind, Texts } from '../domain/text.ts';
import { type EpochMs, instantOf } from '../domain/time.ts';
import { factsOfVisit } from '../domain/visit.ts';
import type { Company } from '../store/companies.ts';
import type { Contact, OpenMessage, SaidRecord } from '../store/messages.ts';
import { templateKey } from '../store/templates.ts';
import { isPlanned } from './planned.ts';
import { bookingOf, clientOf, contactOf, type Scene } from './scene.ts';

/** How people can answer. */
export type Answering = {
  /** Where somebody listens to what people answer, so that buttons are of use. */
  readonly answers: ReadonlySet<ChannelName>;
  /** Where a message can be answered by a browser; undefined: we are not to be reached from outside. */
  readonly answerUrl?: ((companyId: number, messageId: string) => string) | undefined;
};

/** What a message says: a change, a visit with its records, a digest, several changes, or (a test) nothing of these. */
export type Saying = {
  readonly notice: Notice | null;
  readonly visit: readonly SaidRecord[] | null;
  readonly digest: Digest | null;
  /** With their records in `visit`, which is kept. */
  readonly changes: readonly SpokenChange[] | null;
};
export const NOTHING: Saying = { notice: null, visit: null, digest: null, changes: null };

/**
 * A message as a channel is to send it; undefined where its text cannot be rendered. An alert and a text of the platform
 * have their words already.
 */
export function compose(
  deps: Answering & { readonly texts: Texts },
  scene: Scene,
  { message, saying, channel, address }: Composed,
): Outgoing | undefined {
  const attempt = message.attempts + 1;
  if (message.purpose === 'alert') {
    const { id, subject, body } = message;
    const secret = scene.roads.get(channel.name)?.secret;
    const words = { subject: subject ?? '', text: body ?? '' };
    return { ...OPERATOR, id, address, ...words, ...(secret === undefined ? {} : { secret }), attempt };
  }
  const company = scene.companies.get(message.companyId);
  if (company === undefined) return undefined;
  const text = textOf(deps.texts, scene, company, message, saying);
  if (text === undefined) return undefined;
  const contact = contactOf(scene, message);
  const [secret, formerSecret] = scene.secrets.get(company.companyId) ?? [];
  return {
    id: message.id,
    companyId: message.companyId,
    recordId: message.recordId,
    purpose: message.purpose,
    address,
    ...text,
    recipient: {
      clientId: clientIdOf(message.recipient) ?? null,
      name: contact?.name ?? '',
      phone: contact?.phone ?? '',
      email: contact?.email ?? '',
      ...memberOf(message),
    },
    ...saying,
    buttons: buttonsFor(deps, channel, company, message, saying),
    ...linksFor(deps, company, message, saying),
    ...validity(company, message, saying),
    ...(secret === undefined ? {} : { secret }),
    ...(formerSecret === undefined ? {} : { formerSecret }),
    attempt,
  };
}

type Composed = {
  readonly message: OpenMessage;
  readonly saying: Saying;
  readonly channel: Channel;
  readonly address: string;
};

function textOf(
  texts: Texts,
  scene: Scene,
  company: Company,
  message: OpenMessage,
  saying: Saying,
): { subject: string; text: string } | undefined {
  if (message.purpose === 'relay') return { subject: '', text: message.body ?? '' };
  const speaking = {
    client: isTeam(message.recipient) ? clientOf(scene, message) : contactOf(scene, message),
    origin: bookingOf(scene, message)?.booking.fields.origin ?? 'unknown',
  } as const;
  return renderSafely(texts, scene, company, speaking, message, saying);
}

/** Of one of the team, for machines. */
function memberOf({ recipient }: OpenMessage): Pick<Outgoing['recipient'], 'role' | 'staffId'> {
  const role = audienceOf(recipient);
  return role === undefined || role === 'client' ? {} : { role, staffId: staffIdOf(recipient) ?? null };
}

/** Can what is said be answered: the visit stands, and the platform's API, where answers are written, is open to us. */
function isAnswerable({ apiUsable }: Company, message: OpenMessage, saying: Saying): boolean {
  const facts = factsOf(saying);
  const answered = message.purpose === 'notice' || message.purpose === 'reminder';
  if (!answered || isTeam(message.recipient)) return false;
  return apiUsable && facts !== null && facts.status !== 'cancelled';
}

/** What a message says of the booking it belongs to. */
export function factsOf({ notice, visit }: Saying): Facts | null {
  const [record] = visit ?? [];
  if (record === undefined) return notice?.after ?? null;
  const { recordId: _, ...facts } = record;
  return facts;
}

function linksFor(
  { answerUrl }: Answering,
  company: Company,
  message: OpenMessage,
  saying: Saying,
): Pick<Outgoing, 'links'> {
  if (answerUrl === undefined || message.purpose === 'test' || message.purpose === 'relay') return {};
  if (isTeam(message.recipient)) return {};
  const url = answerUrl(company.companyId, message.id);
  const answer = { label: PHRASES[company.locale].confirmOrCancel, url };
  return { links: { ...(isAnswerable(company, message, saying) ? { answer } : {}), stop: `${url}/stop` } };
}

/** Once the visit has begun, nobody needs the news of it, or to be reminded. */
function validity({ zone }: Company, { purpose }: OpenMessage, saying: Saying): { validUntil?: EpochMs } {
  const news = purpose === 'notice' || purpose === 'request' || purpose === 'reminder';
  const facts = news ? factsOf(saying) : null;
  return facts === null ? {} : { validUntil: instantOf(facts.startsLocal, zone) };
}

function buttonsFor(
  { answers }: Answering,
  { name, traits }: Channel,
  company: Company,
  message: OpenMessage,
  saying: Saying,
): readonly Button[] {
  if (!traits.buttons || !answers.has(name) || !isAnswerable(company, message, saying)) return [];
  const { id: messageId } = message;
  const { companyId, locale } = company;
  const { confirm, cancel, move, confirmAll, cancelAll } = PHRASES[locale];
  const whole = (saying.visit?.length ?? 1) > 1;
  return [
    { label: whole ? confirmAll : confirm, press: writePress({ act: 'confirm', companyId, messageId }) },
    { label: move, press: writePress({ act: 'move', companyId, messageId }) },
    { label: whole ? cancelAll : cancel, press: writePress({ act: 'ask_cancel', companyId, messageId }) },
  ];
}

/** Whom a text speaks of and to whom: the client of the booking, and to the team where the booking came from. */
export type Speaking = {
  readonly client: Pick<Contact, 'name' | 'phone'> | undefined;
  readonly origin: Origin;
};

export function renderSafely(
  texts: Texts,
  { templates }: { readonly templates: ReadonlyMap<string, string> },
  company: Company,
  { client, origin }: Speaking,
  message: Pick<OpenMessage, 'purpose' | 'recipient'>,
  { notice, visit, digest, changes }: Saying,
): { subject: string; text: string } | undefined {
  try {
    const { companyId, locale, policy } = company;
    const audience = audienceOf(message.recipient) ?? 'client';
    const kind = kindOf(message.purpose, audience, notice);
    const reads = audience !== 'client' && policy.team[audience].clientPhone;
    const read = (one: Speaking['client']) => ({
      name: one?.name ?? '',
      phone: reads ? (one?.phone ?? '') : '',
    });
    const input = {
      ...{ notice, digest, origin },
      changes: changes?.map(change => ({ ...change, client: read(change.client) })) ?? [],
      visit: factsOfVisit(visit ?? []),
      client: read(client),
      company: { title: company.title, address: company.address, phone: company.phone },
    };
    return texts.render(kind, locale, input, templates.get(templateKey({ companyId, locale, kind })));
  } catch {
    return undefined;
  }
}

function kindOf(purpose: OpenMessage['purpose'], audience: Audience, notice: Notice | null): TextKind {
  if (isPlanned(purpose) || purpose === 'digest' || purpose === 'batch') return purpose;
  if (notice === null) return 'test';
  if (audience !== 'client') return audience;
  return notice.kind === 'confirmed' || notice.kind === 'move_asked' ? 'changed' : notice.kind;
}

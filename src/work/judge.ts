/**
 * What becomes of a message that is due, by the world as the claim sees it: it is said, now or later, by this channel or
 * the next, or it ends. Pure, but for what it notes in the scene for the messages after it in the same batch: who gets
 * something, which provider was silent.
 *
 * A message whose sender died may have left: it is repeated, word for word, only through a channel that drops repeats;
 * otherwise it is `unknown`.
 */
import { type Channel, dropsRepeat } from '../channels/channel.ts';
import { batchHour } from '../domain/batch.ts';
import { startsAt } from '../domain/booking.ts';
import { decideNotice, mayHaveBeenTold, mayRepeat } from '../domain/decide.ts';
import { clientIdOf, factsFor, hasBegun, type Notice } from '../domain/notice.ts';
import type { PlannedPurpose } from '../domain/plan.ts';
import { tells } from '../domain/policy.ts';
import { noticeAfterQuiet } from '../domain/quiet.ts';
import { type Fall, newFalls, stateAtEnd } from '../domain/route.ts';
import { type Audience, audienceOf, isTeam } from '../domain/team.ts';
import type { EpochMs } from '../domain/time.ts';
import type { StoredBooking } from '../store/bookings.ts';
import type { Company } from '../store/companies.ts';
import type { DueMessage, Hush, MessageEnd, OpenMessage } from '../store/messages.ts';
import { type Gathered, judgeBatch } from './batch.ts';
import { judgeDigest } from './digest.ts';
import { judgeFall, whyNotAgain } from './fall.ts';
import { isPlanned, judgePlanned, type PlannedVerdict, saysTheSame } from './planned.ts';
import { judgeRelay } from './relaying.ts';
import { chooseWay } from './route.ts';
import { NOTHING, type Saying } from './saying.ts';
import { bookingOf, cancellingKey, contactOf, type Scene } from './scene.ts';
import { triesUsedUp } from './settle.ts';

/** How soon a notice that waits for what came of its client's own answer is looked at again. */
const CANCELLING_AGAIN_MS = 5_000;

/** A message that ends without being sent. */
export type Unsent = {
  readonly message: OpenMessage;
  readonly state: MessageEnd['state'];
  readonly error: string | null;
  /** It only waits on, until it is looked at again. */
  readonly waitMs?: number;
  /** Channels that were left or passed over just now. */
  readonly falls?: readonly Fall[];
  /** The step of which all is true again that was heard of it, or may have been. */
  readonly heardStep?: number;
};

/** What becomes of one message. */
export type Verdict =
  | {
      readonly do: 'send';
      readonly message: OpenMessage;
      readonly saying: Saying;
      readonly channel: Channel;
      readonly address: string;
      readonly falls: readonly Fall[];
    }
  | ({ readonly do: 'end' } & Unsent)
  | {
      readonly do: 'hush';
      readonly message: OpenMessage;
      readonly notice: Notice;
      readonly state: Hush['state'];
      readonly error: string;
    }
  | ({ readonly do: 'gather' } & Gathered);

export function judge(scene: Scene, message: DueMessage): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  if (message.purpose === 'alert') return judgeAlert(scene, message);
  const company = scene.companies.get(message.companyId);
  if (company === undefined) return end(failed(message), 'the company is unknown');
  if (company.removed) return end(failed(message), 'the company was removed');
  if (company.stopped) return end(failed(message), 'the salon switched us off');
  if (message.state === 'sent') return judgeNextStep(scene, company, message);
  // Its sender is gone, and meanwhile an earlier step was told of.
  if (message.state === 'sending' && message.sentAt !== null && message.heard) return end('delivered', null);
  if (message.purpose === 'relay') return judgeText(scene, company, message);
  if (message.state === 'sending') return judgeAbandoned(scene, company, message);
  if (message.purpose === 'test') return route(scene, company, message, NOTHING);
  if (isPlanned(message.purpose)) return judgeVisit(scene, company, message);
  if (isTeam(message.recipient) && contactOf(scene, message) === undefined) {
    return end('superseded', 'they are in the team no more');
  }
  if (message.purpose === 'digest') {
    const verdict = judgeDigest(message, company, scene.digests.get(company.companyId));
    if (verdict.do === 'end') return end(verdict.state, verdict.error);
    return route(scene, company, message, { ...NOTHING, digest: verdict.digest });
  }
  if (message.purpose === 'batch') return judgeNews(scene, company, message);
  const stored = bookingOf(scene, message);
  if (stored === undefined) return end('failed', 'the booking is unknown');
  if (message.purpose === 'request') return judgeRequest(scene, company, message, stored);
  return judgeNotice(scene, company, message, stored);
}

/** What nobody took has failed. */
export function failed({ state }: OpenMessage): MessageEnd['state'] {
  return state === 'sent' ? 'sent' : 'failed';
}

/** A notice as told and true stand now, and as the policy has it. */
function judgeNotice(scene: Scene, company: Company, message: OpenMessage, stored: StoredBooking): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  const { booking, told } = stored;
  const { recipient, step } = message;
  const decision = decideNotice({ booking, told, recipient, step, zone: company.zone, now: scene.now });
  switch (decision.do) {
    case 'expire':
      return end('expired', null);
    case 'supersede':
      return { ...end('superseded', null), ...(decision.heardStep && { heardStep: decision.heardStep }) };
    case 'send':
      break;
  }
  const { companyId, recordId } = stored;
  if (scene.cancelling.has(cancellingKey({ companyId, recordId, recipient })))
    return waiting(message, CANCELLING_AGAIN_MS);
  const { notice } = decision;
  const hush = (state: Hush['state'], error: string): Verdict => ({
    do: 'hush',
    message,
    notice,
    state,
    error,
  });
  if (mayHaveBeenTold(booking, company.quietUntil)) {
    return hush('unknown', 'a backup was restored; it may have been told before that');
  }
  // Taken as heard: who is not told of a booking is still to hear that it moves.
  const audience = audienceOf(recipient) ?? 'client';
  if (!tells(company.policy, notice.kind, booking.fields.origin ?? 'unknown', audience)) {
    return hush('superseded', 'the policy tells nobody of it');
  }
  const at = batchHour(company.policy, recipient, company.zone, scene.now);
  // Of a visit that begins before the others are told, it is told at once.
  if (at !== null && (startsAt(booking, company.zone) ?? 0) > at)
    return { do: 'gather', message, notice, at };
  const leaveAt = noticeHour(scene, company, booking, audience);
  if (leaveAt > scene.now) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { ...NOTHING, notice });
}

/** Several changes in one message. */
function judgeNews(scene: Scene, company: Company, message: OpenMessage): Verdict {
  const verdict = judgeBatch(message, company, scene.batches.get(message.id), scene.now);
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - scene.now);
    case 'end':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say': {
      const { changes, visit } = verdict;
      return route(scene, company, message, { ...NOTHING, changes, visit });
    }
  }
}

/** What a client asked of the salon, while there is still something to do about it. */
function judgeRequest(
  scene: Scene,
  company: Company,
  message: OpenMessage,
  { booking }: StoredBooking,
): Verdict {
  const end = (state: MessageEnd['state'], error: string | null): Verdict => ({
    do: 'end',
    message,
    state,
    error,
  });
  const { recipient, kind, after: asked } = message;
  const after = factsFor(recipient, booking, company.zone);
  if (kind === null || asked === null || after === null) return end('failed', 'what was asked is unknown');
  if (hasBegun(booking, company.zone, scene.now)) return end('expired', null);
  if (after.status !== 'booked') return end('superseded', 'the visit was called off since');
  if (after.startsLocal !== asked.startsLocal) return end('superseded', 'the visit was moved since');
  const audience = audienceOf(recipient) ?? 'administrator';
  if (!tells(company.policy, kind, booking.fields.origin ?? 'unknown', audience)) {
    return end('superseded', 'the policy tells nobody of it');
  }
  const leaveAt = noticeHour(scene, company, booking, audience);
  if (leaveAt > scene.now) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { ...NOTHING, notice: { kind, before: null, after } });
}

/** A message that a channel took: whether another is to take it, by the same look at the world that any other gets. */
function judgeNextStep(scene: Scene, company: Company, message: DueMessage): Verdict {
  const fall = judgeFall(message, scene);
  if (fall.do === 'stay') return { do: 'end', message, state: fall.state, error: fall.error };
  if (fall.giver !== undefined) fall.giver.silent += 1;
  const verdict = judgeAgain(scene, company, message, fall.left);
  if (verdict.do !== 'end' || verdict.falls !== undefined) return verdict;
  if (verdict.waitMs !== undefined) return { ...verdict, state: 'sent' };
  const falls = newFalls(message.falls, fall.left);
  const error = `not sent by another channel: ${verdict.error ?? 'it is not wanted any more'}`;
  return { ...verdict, state: stateAtEnd([...message.falls, ...falls]), error, falls };
}

function judgeAgain(scene: Scene, company: Company, message: DueMessage, left: readonly Fall[]): Verdict {
  if (message.purpose === 'relay') return judgeText(scene, company, message, left);
  if (isPlanned(message.purpose)) return judgeVisit(scene, company, message, left);
  if (message.purpose === 'digest' || message.purpose === 'batch') {
    return { do: 'end', message, state: 'sent', error: 'it is said once' };
  }
  return judgeNoticeAgain(scene, company, message, left);
}

/** A notice says what it said by the channel before, while that is true and wanted. */
function judgeNoticeAgain(
  scene: Scene,
  company: Company,
  message: DueMessage,
  left: readonly Fall[],
): Verdict {
  const end = (error: string): Verdict => ({ do: 'end', message, state: 'sent', error });
  const { kind, before, after } = message;
  const stored = bookingOf(scene, message);
  if (stored === undefined || kind === null || after === null) return end('the booking is unknown');
  const { booking } = stored;
  const why = whyNotAgain(message, stored, company, scene.now);
  if (why !== undefined) return end(why);
  if (mayHaveBeenTold(booking, company.quietUntil)) return end('a backup was restored');
  const audience = audienceOf(message.recipient) ?? 'client';
  if (!tells(company.policy, kind, booking.fields.origin ?? 'unknown', audience)) {
    return end('the policy tells nobody of it');
  }
  const leaveAt = noticeHour(scene, company, booking, audience);
  if (leaveAt > scene.now) return waiting(message, leaveAt - scene.now);
  return route(scene, company, message, { ...NOTHING, notice: { kind, before, after } }, left);
}

/** When a notice may leave: in the quiet hours rather than after the visit. */
function noticeHour(
  { now }: Scene,
  { policy, zone }: Company,
  booking: StoredBooking['booking'],
  audience: Audience,
): EpochMs {
  const leaveAt = noticeAfterQuiet(policy, audience, now, zone);
  return (startsAt(booking, zone) ?? 0) <= leaveAt ? now : leaveAt;
}

function waiting(message: OpenMessage, waitMs: number): Verdict {
  return { do: 'end', message, state: 'due', error: null, waitMs };
}

/** A text of the platform. */
function judgeText(scene: Scene, company: Company, message: DueMessage, left: readonly Fall[] = []): Verdict {
  const { channels, now } = scene;
  const [relay, contact] = [scene.relays.get(message.id), contactOf(scene, message)];
  const verdict = judgeRelay(message, { relay, company, contact, channels, now });
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - now);
    case 'drop':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say':
      return route(scene, { ...company, route: verdict.route }, message, NOTHING, left);
  }
}

/** A message about a visit, as the plan has it now. */
function judgeVisit(
  scene: Scene,
  company: Company,
  message: OpenMessage,
  left: readonly Fall[] = [],
): Verdict {
  const verdict = plannedVerdict(scene, company, message);
  switch (verdict.do) {
    case 'wait':
      return waiting(message, verdict.until - scene.now);
    case 'drop':
      return { do: 'end', message, state: verdict.state, error: verdict.error };
    case 'say': {
      const routed = route(scene, company, message, { ...NOTHING, visit: verdict.visit }, left);
      if (routed.do === 'send' && isPlanned(message.purpose)) leavingTo(scene, message).push(message.purpose);
      return routed;
    }
  }
}

function plannedVerdict(scene: Scene, company: Company, message: OpenMessage): PlannedVerdict {
  const clientId = clientIdOf(message.recipient);
  if (clientId === undefined) return { do: 'drop', state: 'superseded', error: 'it is for no client' };
  const { known, now } = scene;
  const contact = contactOf(scene, message);
  return judgePlanned(message, {
    known,
    company,
    clientId,
    contact,
    now,
    leaving: leavingTo(scene, message),
  });
}

function leavingTo({ leaving }: Scene, { companyId, recipient }: OpenMessage): PlannedPurpose[] {
  const key = `${companyId}:${recipient}`;
  const list = leaving.get(key) ?? [];
  leaving.set(key, list);
  return list;
}

/** An alert is repeated where a notice would not be: heard twice is better than not at all. */
function judgeAlert({ channels, roads }: Scene, message: OpenMessage): Verdict {
  const channel = message.channel === null ? undefined : channels.get(message.channel);
  const road = message.channel === null ? undefined : roads.get(message.channel);
  if (channel === undefined || road === undefined) {
    return { do: 'end', message, state: 'failed', error: 'no such road to the operator is set up here' };
  }
  if (message.state === 'sending' && triesUsedUp(message)) {
    return { do: 'end', message, state: 'unknown', error: 'it may have gone out; its outcome was lost' };
  }
  return { do: 'send', message, saying: NOTHING, channel, address: road.address, falls: [] };
}

function judgeAbandoned(scene: Scene, company: Company, message: DueMessage): Verdict {
  const channel = message.channel === null ? undefined : scene.channels.get(message.channel);
  const giveUp: Verdict = {
    do: 'end',
    message,
    state: 'unknown',
    error: 'it may have gone out; its outcome was lost',
  };
  if (channel === undefined || triesUsedUp(message)) return giveUp;
  if (message.purpose === 'test' || message.purpose === 'digest') return giveUp;
  const drops = dropsRepeat(channel, message.doubtMs);
  if (isPlanned(message.purpose)) {
    const verdict = drops ? plannedVerdict(scene, company, message) : undefined;
    if (verdict?.do !== 'say' || !saysTheSame(message.visit, verdict.visit)) return giveUp;
    return route(scene, company, message, { ...NOTHING, visit: verdict.visit });
  }
  if (message.purpose === 'batch') {
    const verdict =
      drops && contactOf(scene, message) !== undefined ? judgeNews(scene, company, message) : giveUp;
    return verdict.do === 'send' && saysTheSame(message.visit, verdict.saying.visit ?? []) ? verdict : giveUp;
  }
  const stored = bookingOf(scene, message);
  const { recipient, after, before, kind } = message;
  if (stored === undefined || after === null || kind === null) return giveUp;
  if (isTeam(recipient) && contactOf(scene, message) === undefined) return giveUp;
  if (mayHaveBeenTold(stored.booking, company.quietUntil)) return giveUp;
  const { zone } = company;
  if (
    !mayRepeat({
      idempotent: drops,
      booking: stored.booking,
      recipient,
      after,
      zone,
      now: scene.now,
    })
  ) {
    return giveUp;
  }
  return route(scene, company, message, { ...NOTHING, notice: { kind, before, after } });
}

/** By the first channel of the route that can take it. */
function route(
  scene: Scene,
  company: Company,
  message: OpenMessage,
  saying: Saying,
  left: readonly Fall[] = [],
): Verdict {
  const way = chooseWay(scene, company, contactOf(scene, message), message, left);
  if (!('refused' in way)) return { do: 'send', message, saying, ...way };
  const { state, refused, falls } = way;
  return { do: 'end', message, state, error: refused, falls };
}

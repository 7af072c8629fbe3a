/**
 * What people answer, read: buttons they pressed, words they wrote, and whether what they ask for still makes sense.
 * Pure; `work/listen.ts` hears, `work/act.ts` does.
 */
import type { Attendance } from './attendance.ts';
import type { Facts } from './notice.ts';
import type { EpochMs, Wall } from './time.ts';

/** What a button under a message does. A visit is cancelled only after a second press. */
export type Act = 'confirm' | 'ask_cancel' | 'cancel' | 'keep' | 'move';

export type Press = { readonly act: Act; readonly companyId: number; readonly messageId: string };

/** What a person asked for, to be done at the platform's API. `move` only looks up where they can do it themselves. */
export type ActionKind = 'confirm' | 'cancel' | 'move';

const CODES = { confirm: 'c', ask_cancel: 'x', cancel: 'X', keep: 'k', move: 'm' } as const satisfies Record<
  Act,
  string
>;
const ACTS = new Map<string, Act>(Object.entries(CODES).map(([act, code]) => [code, act as Act]));
const PRESS = /^([cxXkm])\.([1-9]\d{0,9})\.([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** 50 characters at most: Telegram carries 64 bytes. Names no person, and proves nothing: anyone may send any. */
export function writePress({ act, companyId, messageId }: Press): string {
  return `${CODES[act]}.${companyId}.${messageId}`;
}

export function readPress(data: string): Press | undefined {
  const [, code = '', companyId, messageId] = PRESS.exec(data) ?? [];
  const act = ACTS.get(code);
  return act === undefined || messageId === undefined
    ? undefined
    : { act, companyId: Number(companyId), messageId };
}

/** What the path of a link is made of: which message it answers, and the proof that we wrote it. */
export type Link = { readonly companyId: number; readonly messageId: string; readonly proof: string };

const LINK = /^([1-9]\d{0,9})\.([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\.([\w-]{43})$/;

export function writeLink({ companyId, messageId, proof }: Link): string {
  return `${companyId}.${messageId}.${proof}`;
}

export function readLink(text: string): Link | undefined {
  const [, companyId, messageId, proof] = LINK.exec(text) ?? [];
  if (messageId === undefined || proof === undefined) return undefined;
  return { companyId: Number(companyId), messageId, proof };
}

/** What is in a link by which the salon brings one client into a chat: whose, and until which day since 1970 it is good. */
export type PersonalInvite = {
  readonly companyId: number;
  readonly clientId: number;
  readonly day: number;
  readonly proof: string;
};

const PERSONAL = /^c([1-9]\d{0,9})_([1-9]\d{0,15})_(\d{5})_([\w-]{22})$/;

/** 57 characters at most, of those that a deep link of Telegram (64), MAX (128) and VK may have. */
export function writePersonalInvite({ companyId, clientId, day, proof }: PersonalInvite): string {
  return `c${companyId}_${clientId}_${day}_${proof}`;
}

export function readPersonalInvite(text: string): PersonalInvite | undefined {
  const [, companyId, clientId, day, proof] = PERSONAL.exec(text) ?? [];
  if (proof === undefined) return undefined;
  return { companyId: Number(companyId), clientId: Number(clientId), day: Number(day), proof };
}

/** `really`: yes to the question whether to cancel; `come`: a yes to the visit, whatever was asked. */
export type Word = 'stop' | 'resume' | VisitWord;

/** Of a visit. */
export type VisitWord = 'confirm' | 'come' | 'no' | 'cancel' | 'really' | 'move';

const WORDS: Readonly<Record<Word, readonly string[]>> = {
  stop: [
    ...['stop', 'stopall', 'end', 'quit', 'unsubscribe'],
    ...['стоп', 'отписаться', 'отписать', 'отпишите', 'отпишитесь', 'отписка', 'не пишите', 'не писать'],
  ],
  resume: ['resume', 'возобновить', 'подписаться', 'subscribe'],
  confirm: ['да', 'yes', 'подтверждаю', 'подтвердить', 'confirm', '+'],
  come: ['приду', 'буду', 'нет, приду', 'нет приду', 'no, i will come'],
  no: ['нет', 'no'],
  cancel: ['отмена', 'отменить', 'отменяю', 'отмените', 'cancel', 'не приду', 'не смогу'],
  really: ['да, отменить', 'да отменить', 'yes, cancel', 'yes cancel'],
  move: ['перенести', 'перенос', 'перенесите', 'move', 'reschedule'],
};

/** By which a short message may begin that says no more than «стоп» does. `end` is too common, and counts alone. */
const STOPS = new RegExp(
  `^(?:${WORDS.stop.filter(word => word !== 'end').join('|')})(?![\\p{L}\\p{N}-])`,
  'u',
);
/** «Пожалуйста, не пишите мне». */
const ASKING = /^(?:пожалуйста|прошу|больше|please)[^\p{L}\p{N}]+/u;
/** «СТОП, не пишите мне больше никогда» has 34 characters. Longer messages are about something else. */
const SHORT = 40;

/**
 * A message that is nothing but the word, in any case, with signs around it. A short one that begins with a word for
 * stop is a stop, whatever follows: «возобновить» undoes one too many, nothing undoes a message to who refused it.
 * «Отмена» is never one: it calls off a visit.
 */
export function readWord(text: string): Word | undefined {
  const bare = text
    .toLowerCase()
    .replace(/^[^\p{L}\p{N}+]+|[\s.!]+$/gu, '')
    .replace(/\s+/g, ' ');
  const word = (Object.keys(WORDS) as Word[]).find(name => WORDS[name].includes(bare));
  if (word !== undefined || bare.length > SHORT) return word;
  return STOPS.test(bare.replace(ASKING, '')) ? 'stop' : undefined;
}

/**
 * What a word wishes; `asked`: it answers the question whether to cancel. There «да» is neither a yes to the visit nor to
 * its end: who corrects a hasty «нет» by a «да» before the question has come, as an SMS may take a minute, must not
 * lose the visit, and who means the end must not be expected. «Отмена» said again is asked again, for the same reason.
 */
export function wishOf(
  word: VisitWord,
  asked: boolean,
): 'confirm' | 'move' | 'ask_cancel' | 'ask_again' | 'cancel' | 'keep' {
  switch (word) {
    case 'come':
      return 'confirm';
    case 'confirm':
      return asked ? 'ask_again' : 'confirm';
    case 'no':
      return asked ? 'keep' : 'ask_cancel';
    case 'really':
      return asked ? 'cancel' : 'ask_cancel';
    case 'cancel':
      return 'ask_cancel';
    case 'move':
      return 'move';
  }
}

/** A record as it is at the platform right now; null: it is not there (any more). */
export type Standing = {
  readonly startsLocal: Wall | undefined;
  readonly startsAt: EpochMs | undefined;
  readonly attendance: Attendance;
} | null;

export type Refusal = 'over' | 'moved' | 'gone';

export type ActionVerdict =
  | { readonly do: 'act' }
  /** It is so already: by an earlier try whose answer was lost, or by the salon. */
  | { readonly do: 'done' }
  | { readonly do: 'refuse'; readonly because: Refusal };

/**
 * Whether to do what a person asked for when they read `answered`. They answered that time: a visit that was moved
 * since is neither confirmed nor cancelled for them, since a message with the new one is on its way.
 */
export function judgeAction(about: {
  readonly kind: ActionKind;
  readonly answered: Facts;
  readonly standing: Standing;
  readonly now: EpochMs;
}): ActionVerdict {
  const { kind, answered, standing, now } = about;
  if (standing === null) return kind === 'cancel' ? { do: 'done' } : { do: 'refuse', because: 'gone' };
  if (standing.startsLocal !== answered.startsLocal) return { do: 'refuse', because: 'moved' };
  if (standing.startsAt === undefined || standing.startsAt <= now) return { do: 'refuse', because: 'over' };
  switch (standing.attendance) {
    case -1:
      return kind === 'cancel' ? { do: 'done' } : { do: 'refuse', because: 'gone' };
    case 1:
      return kind === 'confirm' ? { do: 'done' } : { do: 'refuse', because: 'over' };
    case 2:
      return kind === 'cancel' ? { do: 'act' } : { do: 'done' };
    case 0:
      // To move it nothing is written: the client does it where we lead them.
      return kind === 'move' ? { do: 'done' } : { do: 'act' };
  }
}

/**
 * The door for policies: a document is taken whole or refused with every fault named, each with its path and, for an
 * unknown key or word, the one that was probably meant.
 */
import { z } from 'zod';
import { nearestOf } from './nearest.ts';
import {
  CATEGORIES,
  DEFAULTS,
  DURATION,
  durationMs,
  IN_DIGEST,
  NOTICE_KINDS,
  ORIGINS,
  type PolicyDocument,
} from './policy.ts';
import { parseReminderTime, reminderName } from './reminder-time.ts';
import { CHANNEL_NAMES } from './route.ts';
import { AUDIENCES } from './team.ts';

const DAY_MS = 86_400_000;

function duration(longestMs: number, words: string) {
  return z
    .string()
    .regex(DURATION, 'must be a duration like 500ms, 5s, 10m, 2h or 30d')
    .refine(text => durationMs(text) <= longestMs, `must be at most ${words}`);
}

const settle = duration(600_000, '10m');
/** Counted from the end of the visit or from its mark, of which we hear seconds later. */
const afterVisit = duration(365 * DAY_MS, '365d')
  .refine(text => durationMs(text) >= 60_000, 'must be at least 1m: sooner, it is over before it is planned')
  .nullable();
const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time like 21:00');
const audiences = z
  .array(z.enum(AUDIENCES))
  .max(AUDIENCES.length)
  .refine(list => new Set(list).size === list.length, 'names somebody twice');
const byOrigin = z.strictObject(optionals(['any', ...ORIGINS], audiences));
const quietRule = z.enum(['send', 'defer', 'drop']);
const reminderTime = z
  .string()
  .refine(
    text => parseReminderTime(text) !== undefined,
    'must be like 24h, 90m, 1d, "20:00 the day before", "9:00 the same day" or "18:00 2 days before", at most 30 days',
  )
  .transform(text => {
    const time = parseReminderTime(text);
    return time === undefined ? text : reminderName(time);
  });

const channelOrder = z
  .array(z.enum(CHANNEL_NAMES))
  .min(1, 'names no channel')
  .refine(list => new Set(list).size === list.length, 'names one channel twice');
/** A receipt takes some seconds at least; what is not confirmed within a day is of no use to most visits. */
const within = duration(DAY_MS, '1d')
  .refine(text => durationMs(text) >= 10_000, 'must be at least 10s')
  .nullable();

/** A notice is a fact that may only wait: whoever is not told that a visit is off stands before a closed door. */
const noticeRule = z.enum(['send', 'defer']);

const teamRules = {
  quietHours: z
    .strictObject({ from: clock.optional(), to: clock.optional(), notices: noticeRule.optional() })
    .optional(),
  clientPhone: z.boolean().optional(),
};

/** Less than a minute is what `settle` is for. */
const gather = z
  .string()
  .refine(
    text =>
      text === IN_DIGEST || (DURATION.test(text) && durationMs(text) >= 60_000 && durationMs(text) <= DAY_MS),
    'must be null, "digest", or from 1m to 1d',
  )
  .nullable();

export const policyDocument = z.strictObject({
  tell: z.strictObject(optionals(NOTICE_KINDS, byOrigin)).optional(),
  settle: z.strictObject(optionals(['any', ...NOTICE_KINDS], settle)).optional(),
  quietHours: z
    .strictObject({
      from: clock.optional(),
      to: clock.optional(),
      notices: noticeRule.optional(),
      reminders: quietRule.optional(),
      afterVisit: quietRule.optional(),
      advertising: quietRule.optional(),
    })
    .optional(),
  limits: z
    .strictObject({
      perDay: z.number().int().min(1).max(100).nullable().optional(),
      advertisingPerDay: z.number().int().min(0).max(100).nullable().optional(),
    })
    .optional(),
  reminders: z
    .strictObject({
      at: z
        .array(reminderTime)
        .max(8)
        .refine(list => new Set(list).size === list.length, 'names one time twice')
        .optional(),
      minimumLead: duration(DAY_MS, '1d').optional(),
      notIfBookedWithin: duration(7 * DAY_MS, '7d').optional(),
    })
    .superRefine(({ at = [], minimumLead = DEFAULTS.reminders.minimumLead }, { addIssue }) => {
      for (const [index, text] of at.entries()) {
        const time = parseReminderTime(text);
        if (time?.kind !== 'before' || time.ms >= durationMs(minimumLead)) continue;
        const message = `would never be sent: reminders.minimumLead lets none leave later than ${minimumLead} before the visit`;
        addIssue({ code: 'custom', path: ['at', index], message });
      }
    })
    .optional(),
  relay: z
    .strictObject({
      by: z.enum(['route', 'asked']).optional(),
      repeats: z.enum(['send', 'drop']).optional(),
    })
    .optional(),
  afterVisit: z
    .strictObject({
      review: afterVisit.optional(),
      noShow: afterVisit.optional(),
      rebook: afterVisit.optional(),
    })
    .optional(),
  routes: z
    .strictObject({
      order: z.strictObject(optionals(CATEGORIES, channelOrder)).optional(),
      within: z.strictObject(optionals(CHANNEL_NAMES, within)).optional(),
      steps: z.number().int().min(1).max(CHANNEL_NAMES.length).optional(),
      smsPerDay: z.number().int().min(0).max(100).nullable().optional(),
      remember: duration(90 * DAY_MS, '90d')
        .nullable()
        .optional(),
    })
    .optional(),
  team: z
    .strictObject({
      staff: z.strictObject(teamRules).optional(),
      administrator: z.strictObject({ ...teamRules, gather: gather.optional() }).optional(),
      digest: z
        .strictObject({
          at: clock.nullable().optional(),
          about: z.enum(['today', 'tomorrow']).optional(),
          whenEmpty: z.boolean().optional(),
        })
        .optional(),
    })
    .refine(({ administrator, digest }) => administrator?.gather !== IN_DIGEST || digest?.at !== null, {
      path: ['administrator', 'gather'],
      message: 'is the digest, of which team.digest.at is null: nobody would hear anything',
    })
    .optional(),
});

function optionals<Name extends string, Schema extends z.ZodType>(
  names: readonly Name[],
  schema: Schema,
): { [name in Name]: z.ZodOptional<Schema> } {
  return Object.fromEntries(names.map(name => [name, schema.optional()])) as {
    [name in Name]: z.ZodOptional<Schema>;
  };
}

/** Where, in dots, and what is wrong there. */
export type PolicyFault = { readonly path: string; readonly says: string };

export type CheckedPolicy =
  | { readonly document: PolicyDocument }
  | { readonly faults: readonly PolicyFault[] };

/** The document in canonical spelling, or its faults. */
export function checkPolicy(value: unknown): CheckedPolicy {
  const parsed = policyDocument.safeParse(value, { reportInput: true });
  if (parsed.success) return { document: parsed.data as PolicyDocument };
  return { faults: parsed.error.issues.flatMap(faultsOf) };
}

function faultsOf(issue: z.core.$ZodIssue): PolicyFault[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({
      path: [...path, key].join('.'),
      says: `is not known${suggestion(key, namesAt(path))}`,
    }));
  }
  if (issue.code === 'invalid_value') {
    const names = issue.values.map(String);
    const meant = typeof issue.input === 'string' ? nearestOf(issue.input, names) : undefined;
    const given = meant === undefined ? '' : `; did you mean ${meant}?`;
    return [{ path: path.join('.'), says: `must be one of ${names.join(', ')}${given}` }];
  }
  if (path.length === 0) return [{ path: 'the policy', says: 'must be an object, as {}' }];
  return [{ path: path.join('.'), says: issue.message }];
}

/** The keys that an object of the document may have at a path. */
function namesAt(path: readonly string[]): string[] {
  let schema: unknown = policyDocument;
  for (const name of path) schema = shapeOf(schema)[name];
  return Object.keys(shapeOf(schema));
}

function shapeOf(schema: unknown): Record<string, unknown> {
  const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  return inner instanceof z.ZodObject ? inner.shape : {};
}

function suggestion(given: string, names: readonly string[]): string {
  const nearest = nearestOf(given, names);
  if (nearest !== undefined) return `; did you mean ${nearest}?`;
  return names.length === 0 ? '' : `; there are ${names.join(', ')}`;
}

/**
 * The admin API under /api/v1: one table of routes, from which both the server and its OpenAPI description are made.
 * Names and shapes are a contract that others script against.
 */
import { z } from 'zod';
import { ADDRESSED, CHANNEL_NAMES } from '../channels/channel.ts';
import { ORIGINS, type PolicyDocument } from '../domain/policy.ts';
import { checkPolicy, policyDocument } from '../domain/policy-document.ts';
import { isZone, parseInstant, parseWall } from '../domain/time.ts';
import { TOKEN } from '../domain/token.ts';
import { MissingError, PlainError } from '../log.ts';
import { setClientAddress } from '../salon/addresses.ts';
import { addCompany, closeTexts, dropCompany, openTexts, rotateKey, setCompany } from '../salon/companies.ts';
import { listVersions, PolicyError, setPolicy, showPolicy, soundPolicy } from '../salon/policies.ts';
import { type PreviewOf, previewPolicy } from '../salon/preview.ts';
import { previewRoutes } from '../salon/preview-routes.ts';
import { previewTexts } from '../salon/preview-texts.ts';
import { TextError } from '../salon/texts.ts';
import { listCompanies, type NewCompany } from '../store/companies.ts';
import { readCoverage, sumCoverage } from '../store/coverage.ts';
import { listDrift } from '../store/drift.ts';
import { readRelayStates } from '../store/relays.ts';
import { readStats, showBooking } from '../store/views.ts';
import { CLIENT_ROUTES } from './api-clients.ts';
import { EVENT_ROUTES } from './api-events.ts';
import { MESSAGE_ROUTES } from './api-messages.ts';
import { TEAM_ROUTES } from './api-team.ts';
import { TEXT_ROUTES } from './api-texts.ts';
import type { Problem } from './problem.ts';
import { bigId, companyId, companyParams, missing, page, type Route } from './route.ts';

const bookingParams = z.object({ company: companyId, record: bigId });
const addressParams = z.object({ company: companyId, client: bigId, channel: z.enum(ADDRESSED) });
const addressBody = z.object({ address: z.string().min(1).max(320) });

const between = (least: number, most: number, message: string) =>
  z.number().int().min(least, message).max(most, message);

/** How a company's changes are read; each may be left out. */
const readingBody = z.object({
  source: z.enum(['webhook', 'poll', 'both']).optional(),
  verify: z.enum(['always', 'doubt', 'never']).optional(),
  sweepMs: between(60_000, 86_400_000, 'must be from a minute to a day').optional(),
  pollMs: between(10_000, 86_400_000, 'must be from 10 seconds to a day').optional(),
  /** Kept sealed, never shown. */
  userToken: z.string().trim().regex(TOKEN, 'must be the token alone, without blanks').optional(),
});
/** The version that whoever writes has read; somebody else's change in between is not overwritten. */
const policyQuery = z.object({ ifVersion: z.coerce.number().int().min(0).optional() });
const policyVersionQuery = z.object({ version: z.coerce.number().int().min(0).optional() });
const policyVersionsQuery = z.object({ ...page, cursor: z.coerce.number().int().min(0).optional() });
const coverageQuery = z.object({ company: companyId.optional() });

/** Without the keys whose value is undefined. */
export function given<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** A policy within another body: refused by the same words as one that comes alone. */
const policyField = z.unknown().transform((value, context) => {
  const checked = checkPolicy(value);
  if ('document' in checked) return checked.document;
  for (const { path, says } of checked.faults) {
    context.addIssue({ code: 'custom', path: path.split('.'), message: says });
  }
  return z.NEVER;
});

/** What an operator says of a company. */
const settingFields = {
  title: z.string().trim().min(1).max(200),
  zone: z
    .string()
    .refine(
      isZone,
      'must be an IANA zone like Europe/Moscow; an offset like +03:00 knows nothing of summer time',
    ),
  locale: z.enum(['ru', 'en']),
  route: z
    .array(z.enum(CHANNEL_NAMES))
    .min(1)
    .refine(route => new Set(route).size === route.length, 'names one channel twice'),
  webhookUrl: z.url({ protocol: /^https?$/ }).nullable(),
  botApiPrefix: z.string().min(1).max(50).nullable(),
};

/** What may be changed of a company; each may be left out. */
export const companyChange = z.object({
  ...z.object(settingFields).partial().shape,
  ...readingBody.shape,
});

/** A company as it is added; the command `company add` reads its options through the same schema. */
export const companyBody = z.object({
  companyId,
  title: settingFields.title,
  zone: settingFields.zone,
  brand: z.enum(['yclients', 'altegio']).default('yclients'),
  locale: settingFields.locale.default('ru'),
  /** Short for `settle.any` of the policy. */
  settleMs: z.number().int().min(0).max(600_000).optional(),
  policy: policyField.optional(),
  route: settingFields.route.default(['console']),
  webhookUrl: settingFields.webhookUrl.default(null),
  botApiPrefix: settingFields.botApiPrefix.default(null),
  signatureRequired: z.boolean().default(false),
  ...readingBody.shape,
});

/** A booking to preview; by `policy` where given. */
export const previewBody = z
  .strictObject({
    recordId: bigId.optional(),
    startsLocal: z
      .string()
      .transform((text, context) => {
        const wall = parseWall(text);
        if (wall !== undefined) return wall;
        context.addIssue({ code: 'custom', message: 'must be like 2026-12-01T14:30' });
        return z.NEVER;
      })
      .optional(),
    durationSeconds: z.number().int().min(60).max(86_400).optional(),
    staffId: bigId.optional(),
    origin: z.enum(ORIGINS).optional(),
    madeAt: z.iso.datetime({ offset: true }).optional(),
    policy: policyField.optional(),
  })
  .refine(body => (body.recordId === undefined) !== (body.startsLocal === undefined), {
    message: 'needs either recordId or startsLocal',
    path: ['recordId'],
  });

/** What `previewPolicy` is asked for. */
export function previewOf(
  body: z.infer<typeof previewBody>,
  now: number,
): [PreviewOf, { document: PolicyDocument | undefined; now: number }] {
  const { recordId, startsLocal = '', durationSeconds = 3_600, origin = 'unknown', madeAt, policy } = body;
  const { staffId } = body;
  const made = madeAt === undefined ? undefined : parseInstant(madeAt);
  const about =
    recordId === undefined ? { startsLocal, durationSeconds, origin, staffId, madeAt: made } : { recordId };
  return [about, { document: policy, now }];
}

export const ROUTES: readonly Route[] = [
  ...EVENT_ROUTES,
  {
    method: 'GET',
    path: '/bookings/{company}/{record}',
    summary: 'A booking: its state, what its people were told, its history',
    params: bookingParams,
    answer: 'The booking',
    handle: async ({ pool }, input) => {
      const { company, record } = bookingParams.parse(input.params);
      return (await showBooking(pool, company, record)) ?? missing(`booking ${company}/${record}`);
    },
  },
  ...MESSAGE_ROUTES,
  {
    method: 'GET',
    path: '/companies',
    summary: 'Companies',
    answer: 'items',
    handle: async ({ pool }) => ({
      items: (await listCompanies(pool)).map(({ policy: _policy, team: _team, ...company }) => company),
    }),
  },
  {
    method: 'POST',
    path: '/companies',
    summary: 'Add a company; its URL and secrets are shown in this answer only',
    body: companyBody,
    answer: 'companyId, url, and the secrets made',
    handle: async ({ pool, vault, webhookUrl }, input) => {
      const { userToken, ...company } = companyBody.parse(input.body);
      const { key, ...added } = await addCompany(
        { pool, vault, actor: 'api' },
        newCompany(company),
        userToken,
      );
      return { ...added, key, url: webhookUrl(key) };
    },
  },
  {
    method: 'PATCH',
    path: '/companies/{company}',
    summary:
      'Change a company: title, zone, language, route, webhook URL; how it is read: source, verify, intervals, user token',
    params: companyParams,
    body: companyChange,
    answer: 'The company; outboundSecret, shown once, where it had no webhook URL before',
    handle: async ({ pool, vault }, input) => {
      const { company } = companyParams.parse(input.params);
      const {
        policy: _policy,
        team: _team,
        ...set
      } = await setCompany({ pool, vault, actor: 'api' }, company, given(companyChange.parse(input.body)));
      return set;
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/policy',
    summary: 'What is said to whom and when: as the salon wrote it, and in full. version: as it was then',
    params: companyParams,
    query: policyVersionQuery,
    answer: 'companyId, version, document, effective, versions',
    handle: ({ pool }, input) => {
      const { version } = policyVersionQuery.parse(input.query);
      return showPolicy(pool, companyParams.parse(input.params).company, version);
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/policy/versions',
    summary: 'When each version of the policy was written, and by what, newest first',
    params: companyParams,
    query: policyVersionsQuery,
    answer: 'A page: items and next, the cursor of the page after it (null: none)',
    handle: ({ pool }, input) =>
      listVersions(pool, companyParams.parse(input.params).company, policyVersionsQuery.parse(input.query)),
  },
  {
    method: 'PUT',
    path: '/companies/{company}/policy',
    summary:
      'A whole policy in the place of the one there is; {} is the default. ifVersion: only if that is the version there is',
    params: companyParams,
    query: policyQuery,
    body: policyDocument,
    answer: 'companyId, version, document, effective, versions',
    handle: ({ pool }, input) => {
      const { ifVersion } = policyQuery.parse(input.query);
      const { company } = companyParams.parse(input.params);
      return setPolicy({ pool, actor: 'api' }, company, input.body, { ifVersion });
    },
  },
  {
    method: 'POST',
    path: '/companies/{company}/policy/preview',
    changesNothing: true,
    summary:
      'What would be said of a booking (recordId, or startsLocal of one that there might be), when, and why not',
    params: companyParams,
    body: previewBody,
    answer:
      'booking, changes, team, digest, messages, said, not; texts: kind, subject, text and smsParts, how many SMS it is; routes: by category its steps (channel, provider, withinMs, tells, failedBefore) and leftOut with why',
    handle: async ({ pool, texts, channels }, input) => {
      const { company } = companyParams.parse(input.params);
      const [about, by] = previewOf(previewBody.parse(input.body), Date.now());
      const preview = await previewPolicy(pool, company, about, by);
      const routes = await previewRoutes(pool, channels, preview, by);
      return { ...preview, ...routes, texts: await previewTexts(pool, texts, preview) };
    },
  },
  {
    method: 'POST',
    path: '/policy/validate',
    changesNothing: true,
    summary: 'Whether a policy is sound; nothing is kept',
    body: policyDocument,
    answer: 'document: in canonical spelling',
    handle: async (_deps, input) => ({ document: soundPolicy(input.body) }),
  },
  {
    method: 'POST',
    path: '/companies/{company}/rotate-key',
    summary: 'A new webhook URL; the old one works for another 24 hours',
    params: companyParams,
    answer: 'companyId, url',
    handle: async ({ pool, vault, webhookUrl }, input) => {
      const { company } = companyParams.parse(input.params);
      const key = await rotateKey({ pool, vault, actor: 'api' }, company);
      return { companyId: company, key, url: webhookUrl(key) };
    },
  },
  {
    method: 'GET',
    path: '/companies/{company}/operator',
    summary: 'Whether we are its SMS operator, and the texts of the last 24 hours',
    params: companyParams,
    answer: 'companyId, on, texts, untold, givenUp',
    handle: async ({ pool }, input) => {
      const { company } = companyParams.parse(input.params);
      const [state] = await readRelayStates(pool, company);
      if (state === undefined) return missing(`company ${company}`);
      const { brand: _, route: __, ...rest } = state;
      return rest;
    },
  },
  {
    method: 'POST',
    path: '/companies/{company}/operator',
    summary: 'Be its SMS operator: a new address for its texts; an old one works for another 24 hours',
    params: companyParams,
    answer: 'companyId, key, url',
    handle: async ({ pool, vault, textsUrl }, input) => {
      const { company } = companyParams.parse(input.params);
      const key = await openTexts({ pool, vault, actor: 'api' }, company);
      return { companyId: company, key, url: textsUrl(key) };
    },
  },
  {
    method: 'DELETE',
    path: '/companies/{company}/operator',
    summary: 'Take no texts of it any more; those that were taken still leave, and their statuses are told',
    params: companyParams,
    answer: 'companyId, on, was: whether it was on',
    handle: async ({ pool, vault }, input) => {
      const { company } = companyParams.parse(input.params);
      const was = await closeTexts({ pool, vault, actor: 'api' }, company);
      return { companyId: company, on: false, was };
    },
  },
  {
    method: 'DELETE',
    path: '/companies/{company}',
    summary: 'Stop a company: its URL dies within seconds, nobody is notified, the data stays',
    params: companyParams,
    answer: 'companyId, removed',
    handle: async ({ pool, vault }, input) => {
      const { company } = companyParams.parse(input.params);
      await dropCompany({ pool, vault, actor: 'api' }, company);
      return { companyId: company, removed: true };
    },
  },
  {
    method: 'PUT',
    path: '/companies/{company}/clients/{client}/addresses/{channel}',
    summary: 'Where a client can be reached on a channel (a Telegram chat id, another e-mail)',
    params: addressParams,
    body: addressBody,
    answer: 'company, client, channel',
    handle: async ({ pool }, input) => {
      const { company, client, channel } = addressParams.parse(input.params);
      const { address } = addressBody.parse(input.body);
      const place = { companyId: company, clientId: client, channel, address };
      await setClientAddress({ pool, actor: 'api' }, place);
      return { company, client, channel };
    },
  },
  ...TEXT_ROUTES,
  ...TEAM_ROUTES,
  ...CLIENT_ROUTES,
  {
    method: 'GET',
    path: '/drift',
    summary: 'What the platform sends that we do not know, latest first',
    answer: 'items: kind, path, count, firstAt, lastAt, and sample, the shape of a value without its content',
    handle: async ({ pool }) => ({ items: await listDrift(pool) }),
  },
  {
    method: 'GET',
    path: '/stats',
    summary: 'Counts by state, how far behind processing is, and what webhooks left out in the last 24 hours',
    answer: 'The counts',
    handle: async ({ pool }) => ({
      ...(await readStats(pool)),
      reconciliation: sumCoverage(await readCoverage(pool, Date.now())),
    }),
  },
  {
    method: 'GET',
    path: '/coverage',
    summary: 'By company: what webhooks brought and left out in the last 24 hours, and how its sweeps stand',
    query: coverageQuery,
    answer: 'items',
    handle: async ({ pool }, input) => {
      const { company } = coverageQuery.parse(input.query);
      return { items: await readCoverage(pool, Date.now(), company) };
    },
  },
];

/** What the schema says of a company, as the store takes it. */
export function newCompany(company: Omit<z.infer<typeof companyBody>, 'userToken'>): NewCompany {
  const { source, verify, sweepMs, pollMs, settleMs, policy, ...rest } = company;
  return { ...rest, ...given({ source, verify, sweepMs, pollMs, settleMs, policy }) };
}

/** The refusal an error stands for, or undefined when it is a fault of ours. */
export function refusalOf(error: unknown): Problem | undefined {
  if (error instanceof PolicyError) {
    const detail = error.faults.map(({ path, says }) => `${path}: ${says}`).join('; ');
    return { status: 400, title: 'Not valid', detail };
  }
  if (error instanceof TextError) return { status: 400, title: 'Not valid', detail: error.message };
  if (error instanceof MissingError) return { status: 404, title: 'Not found', detail: error.message };
  if (error instanceof PlainError) return { status: 409, title: 'Refused', detail: error.message };
  if (error instanceof z.ZodError) {
    const detail = error.issues
      .map(({ path, message }) => `${path.map(String).join('.') || 'the request'}: ${message}`)
      .join('; ');
    return { status: 400, title: 'Not valid', detail };
  }
  return undefined;
}

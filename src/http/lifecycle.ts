/**
 * `POST /webhooks/yclients/lifecycle`: the marketplace says that a salon uninstalled the application, or that it is
 * frozen. Its body holds the partner token in the clear, so no byte of it is kept or logged.
 *
 *     {"salon_id": 1, "application_id": 2, "event": "uninstall" | "freeze", "partner_token": "…"}
 *
 * It is no address for events of a salon, nor are those addresses for this: what comes to the wrong one is refused and
 * counted. (A project that answered 200 here to whatever it did not know acknowledged, and lost, every event.)
 */
import { hash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { RejectCause } from '../metrics.ts';
import type { ConnectDeps } from './connect.ts';
import { createLimit, type Refusal, tooMany, UNAVAILABLE } from './guard.ts';
import { sendProblem } from './problem.ts';
import { readSalonId } from './user-data.ts';

export type LifecycleEvent = 'uninstall' | 'freeze';

export type LifecycleRoute = {
  readonly partnerToken: string;
  /** Events of another application are refused; undefined: it is not known which is ours. */
  readonly applicationId: number | undefined;
  /** `unknown`: there is no such company here. Rejects when the store is not there. */
  readonly stop: (salonId: number, event: LifecycleEvent) => Promise<'stopped' | 'already' | 'unknown'>;
};

/** All salons' events come from the platform's few addresses. */
const PER_MINUTE = 300;

export function addLifecycleRoute(
  app: FastifyInstance,
  { log, metrics }: ConnectDeps,
  route: LifecycleRoute,
): void {
  const limit = createLimit(PER_MINUTE, 60);
  app.post('/webhooks/yclients/lifecycle', async (request, reply) => {
    const refuse = ({ cause, ...problem }: Refusal) => {
      metrics.rejected.inc({ cause });
      log.warn(
        { role: 'receive', request_id: request.id, status: problem.status, reason: cause },
        'lifecycle event refused',
      );
      return sendProblem(reply, problem);
    };
    const waitSeconds = await limit(request.ip);
    if (waitSeconds > 0) return refuse(tooMany('lifecycle_rate', waitSeconds));
    const read = readLifecycle(request.body, route);
    if ('cause' in read) return refuse(read);
    const { salonId, event } = read;
    try {
      const state = await route.stop(salonId, event);
      if (state === 'unknown') return refuse(UNKNOWN_COMPANY);
      log.info(
        { role: 'receive', request_id: request.id, company_id: salonId, reason: event, outcome: state },
        'the salon switched us off',
      );
      return await reply.code(200).send({ company: salonId, event, duplicate: state === 'already' });
    } catch (error) {
      log.error(
        { role: 'receive', request_id: request.id, company_id: salonId, err: error },
        'lifecycle event not kept',
      );
      return refuse({ ...UNAVAILABLE, cause: 'store_down' });
    }
  });
}

function refusal(status: number, cause: RejectCause, title: string, detail: string): Refusal {
  return { status, cause, title, detail };
}

const UNREADABLE = refusal(
  400,
  'lifecycle_unreadable',
  'Unreadable event',
  'A lifecycle event is expected here.',
);
const ENTITY = refusal(
  400,
  'entity_event_here',
  'Wrong address',
  'Events of a salon are sent to the URL that was made for it, not here. This one was not kept.',
);
const WRONG_TOKEN = refusal(
  401,
  'lifecycle_token',
  'Unauthorised',
  'The partner token is not the right one.',
);
const OTHER_APPLICATION = refusal(
  400,
  'lifecycle_application',
  'Another application',
  'The event is about an application that is not the one set up here.',
);
const UNKNOWN_EVENT = refusal(
  400,
  'lifecycle_unknown_event',
  'Unknown event',
  'Only uninstall and freeze are known here.',
);
const UNKNOWN_COMPANY = refusal(
  404,
  'lifecycle_unknown_company',
  'Not found',
  'There is no such salon here.',
);

/** What a lifecycle event is refused for here, from an address of salons' events: it is not kept, for it holds a token. */
export const LIFECYCLE_MISPLACED: Refusal = refusal(
  400,
  'lifecycle_event_here',
  'Wrong address',
  'Events of the marketplace are sent to /webhooks/yclients/lifecycle, not here. This one was not kept.',
);

function readLifecycle(
  body: unknown,
  { partnerToken, applicationId }: LifecycleRoute,
): { readonly salonId: number; readonly event: LifecycleEvent } | Refusal {
  const fields = parse(body);
  if (fields === undefined) return UNREADABLE;
  if (!('partner_token' in fields) && 'resource' in fields) return ENTITY;
  if (!isToken(fields.partner_token, partnerToken)) return WRONG_TOKEN;
  const { event } = fields;
  if (event !== 'uninstall' && event !== 'freeze') return UNKNOWN_EVENT;
  if (applicationId !== undefined && String(fields.application_id) !== String(applicationId)) {
    return OTHER_APPLICATION;
  }
  const salonId = readSalonId(fields.salon_id);
  return salonId === undefined ? UNREADABLE : { salonId, event };
}

/** Of equal time whatever was given: digests are compared. */
function isToken(given: unknown, expected: string): boolean {
  const text = typeof given === 'string' ? given : '';
  const digest = (value: string) => Buffer.from(hash('sha256', value), 'hex');
  return timingSafeEqual(digest(text), digest(expected)) && text === given;
}

/** Whether the bytes are a lifecycle event, come to the address of a salon's events. */
export function isLifecycle(body: Buffer): boolean {
  const fields = parse(body);
  return fields !== undefined && 'salon_id' in fields && ('partner_token' in fields || 'event' in fields);
}

/** The object in the bytes; of a list its first, for events of a salon may come so. */
function parse(body: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!Buffer.isBuffer(body)) return undefined;
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    const value: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

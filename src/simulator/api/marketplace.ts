/**
 * The marketplace: an owner presses "connect", the application calls back while the grant lasts, and hears later
 * that it was removed or frozen.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { EpochMs } from '../../domain/time.ts';
import { type Answer, Refusal } from './answers.ts';
import type { Branch } from './branch.ts';
import { FLAGS } from './hooks.ts';
import type { Route } from './route.ts';

export type Owner = {
  readonly id: number;
  readonly name: string;
  readonly phone: string;
  readonly email: string;
  readonly is_approved: boolean;
  readonly salon_name: string;
};

export const OWNER: Owner = {
  id: 9_100_001,
  name: 'Аглая Полынко',
  phone: '79000009999',
  email: 'owner@example.test',
  is_approved: true,
  salon_name: 'Студия «Полынь»',
};

/**
 * What the owner's browser brings to the application: `salon_id`, or `salon_ids[0]` and on, with `user_data` (base64 of
 * UTF-8 JSON) and `user_data_sign`: hex HMAC-SHA256, its key the partner token, its message the bytes before base64.
 */
export function connectQuery(
  salonIds: readonly number[],
  partnerToken: string,
  owner: Owner = OWNER,
): URLSearchParams {
  const bytes = Buffer.from(JSON.stringify(owner), 'utf8');
  const query = new URLSearchParams();
  for (const [index, id] of salonIds.entries())
    query.set(salonIds.length === 1 ? 'salon_id' : `salon_ids[${index}]`, String(id));
  query.set('user_data', bytes.toString('base64'));
  query.set('user_data_sign', createHmac('sha256', partnerToken).update(bytes).digest('hex'));
  return query;
}

export type LifecycleEvent = 'uninstall' | 'freeze';

export type Marketplace = {
  readonly routes: readonly Route[];
  /** The owner connects: the grant lasts from `now`. */
  grant(salonIds: readonly number[], now: EpochMs): void;
  /** Whether the application is active in the company. */
  isInstalled(companyId: number): boolean;
  /** What is posted to the application, whose webhooks end with it. */
  leave(branch: Branch, event: LifecycleEvent): string;
};

export type MarketplaceOptions = {
  readonly applicationId: number;
  readonly partnerToken: string;
  /** The platform's is between an hour and twelve. */
  readonly grantMs: number;
};

const callback = z.object({
  salon_id: z.coerce.number(),
  application_id: z.coerce.number(),
  api_key: z.string().optional(),
  webhook_urls: z.array(z.url({ protocol: /^https?$/ })).default([]),
  channels: z.array(z.string()).default([]),
});

/** An application hears of everything unless the salon says otherwise. */
const ALL = { active: true, selfSending: true, flags: new Set(FLAGS) };

export function openMarketplace({ applicationId, partnerToken, grantMs }: MarketplaceOptions): Marketplace {
  const grants = new Map<number, EpochMs>();
  const installed = new Map<number, readonly string[]>();

  const activate: Route['handle'] = ({ branch, body, now }): Answer => {
    const { data, error } = callback.safeParse(body);
    if (error !== undefined) throw new Refusal(422, 'salon_id, application_id are expected');
    if (data.application_id !== applicationId) throw new Refusal(404, 'Unknown application');
    const until = grants.get(data.salon_id);
    if (until === undefined) throw new Refusal(403, 'The salon has not connected the application');
    if (now >= until) throw new Refusal(403, 'The time to connect is over');
    installed.set(branch.companyId, data.webhook_urls);
    const hooks = branch.hooks();
    const urls = [...new Set([...hooks.urls, ...data.webhook_urls])];
    const own = new Map([...hooks.own, ...data.webhook_urls.map(url => [url, ALL] as const)]);
    branch.saveHooks({ ...hooks, urls, own });
    return { status: 201, data: [] };
  };

  return {
    routes: [
      {
        method: 'POST',
        path: '/marketplace/partner/callback',
        operation: 'activate',
        needs: 'partner',
        handle: activate,
      },
    ],
    grant(salonIds, now) {
      for (const id of salonIds) grants.set(id, now + grantMs);
    },
    isInstalled: companyId => installed.has(companyId),
    leave(branch, event) {
      const gone = installed.get(branch.companyId) ?? [];
      installed.delete(branch.companyId);
      grants.delete(branch.companyId);
      const hooks = branch.hooks();
      branch.saveHooks({ ...hooks, urls: hooks.urls.filter(url => !gone.includes(url)) });
      return JSON.stringify({
        salon_id: branch.companyId,
        application_id: applicationId,
        event,
        partner_token: partnerToken,
      });
    },
  };
}

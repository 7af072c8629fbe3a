/** The platform's API for one company: as much of it as registration needs. */
import { request } from 'undici';
import type { Config } from './config.ts';
import { PlainError } from './log.ts';
import type { Pool } from './store/pool.ts';
import { ApiError, type ApiTrouble, type CompanyApi } from './yclients/api.ts';

const TIMEOUT_MS = 10_000;
const TROUBLES: Readonly<Record<number, ApiTrouble>> = {
  401: 'unauthorised',
  403: 'forbidden',
  404: 'not_found',
  429: 'limited',
};

export type RegistrationApi = Pick<CompanyApi, 'hooks' | 'saveHooks' | 'company'>;

export async function apiOf(
  { config }: { readonly config: Config; readonly pool: Pool },
  companyId: number,
): Promise<RegistrationApi> {
  const { YCLIENTS_PARTNER_TOKEN: partner, YCLIENTS_USER_TOKEN: user } = config;
  if (partner === undefined || user === undefined) {
    throw new PlainError('the API needs YCLIENTS_PARTNER_TOKEN and YCLIENTS_USER_TOKEN: set both');
  }
  const base = config.YCLIENTS_API_URL ?? 'https://api.yclients.com';
  const call = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> => {
    const answer = await request(`${base}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${partner}, User ${user}`,
        accept: 'application/vnd.yclients.v2+json',
        'content-type': 'application/json',
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).catch(cause => {
      throw new ApiError('unavailable', `${method} ${path}: no answer`, { cause });
    });
    const { statusCode: status } = answer;
    const read: unknown = await answer.body.json().catch(() => undefined);
    if (status < 200 || status >= 300) {
      const trouble = TROUBLES[status] ?? (status >= 500 ? 'unavailable' : 'refused');
      throw new ApiError(trouble, `${method} ${path}: HTTP ${status}`, { status });
    }
    const data = typeof read === 'object' && read !== null && 'data' in read ? read.data : read;
    if (data === undefined) throw new ApiError('unreadable', `${method} ${path}: not the API's answer`);
    return data;
  };
  return {
    company: () => call('GET', `/company/${companyId}/`),
    hooks: () => call('GET', `/hooks_settings/${companyId}`),
    saveHooks: settings => call('POST', `/hooks_settings/${companyId}`, settings),
  };
}

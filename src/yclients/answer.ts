/**
 * The answers of the platform's API: every shape they have been seen in, read into data or into an `ApiError` that
 * says what was asked, what came back and what to do. Texts of the API are looked at and never repeated: they may
 * quote a client.
 *
 * Seen in production: `{success, data, meta}`, `{success: false, data: null, meta: {message}}` (with 200 too),
 * `{errors: {code, message}, meta}`, 204 without a body, an empty 429, HTML of a proxy.
 */
import { ApiError, type ApiTrouble, type Brand, type Operation } from './api.ts';
import type { Exchanged } from './exchange.ts';

export type Asked = { readonly brand: Brand; readonly companyId: number; readonly operation: Operation };

type Answered = Extract<Exchanged, { answered: true }>;

/** How the operator knows the brand, and the settings that hold its tokens. */
export const BRANDS = {
  yclients: { name: 'YClients', partner: 'YCLIENTS_PARTNER_TOKEN', user: 'YCLIENTS_USER_TOKEN' },
  altegio: { name: 'Altegio', partner: 'ALTEGIO_PARTNER_TOKEN', user: 'ALTEGIO_USER_TOKEN' },
} as const;

/** The right of the user, by the words of the platform's own list of rights. */
const RIGHTS: Record<Operation, string> = {
  records: 'to see the journal',
  record: 'to see the journal',
  company: 'to the company',
  hooks: 'to change the settings of the company',
  save_hooks: 'to change the settings of the company',
  search_clients: 'to see the list of clients',
  client: 'to see the list of clients',
  services: 'to see the services',
  staff: 'to see the staff',
  book_times: 'to online booking',
  book_check: 'to online booking',
  create_record: 'to create bookings',
  confirm_visit: 'to edit bookings',
  move_record: 'to edit bookings',
  delete_record: 'to delete bookings',
};

/** The API's data, or why there is none. */
export function readAnswer(answer: Answered, asked: Asked): { readonly data: unknown } | ApiError {
  const fail = failing(answer, asked);
  if (answer.status === 429) {
    return fail('limited', 'too many calls from this address', 'it is asked again later by itself');
  }
  if (answer.body === 'huge') return fail('unreadable', 'an answer too long to be read', 'ask for less');
  if (answer.body === 'cut')
    return fail('unavailable', 'an answer that broke off', 'it is asked again later');
  if (answer.status >= 300 && answer.status < 400) {
    return fail('unavailable', 'a redirect, which the API does not send', 'check YCLIENTS_API_URL');
  }
  const text = answer.body.text.replace(/^\uFEFF/, '').trim();
  const fine = answer.status >= 200 && answer.status < 300;
  if (text === '') return emptyAnswer(answer.status, fine, asked, fail);
  const body = parse(text);
  if (body === undefined) {
    if (answer.status >= 500)
      return fail('unavailable', `status ${answer.status}`, 'it is asked again later');
    const what = text.startsWith('<')
      ? 'a page for people: something stands in front of the API'
      : 'no JSON, or JSON that broke off';
    return fail('unavailable', `${what} (status ${answer.status})`, 'if it stays so, check YCLIENTS_API_URL');
  }
  return readBody(body, answer.status, fine, asked, fail);
}

type Fail = (trouble: ApiTrouble, said: string, todo: string, code?: number) => ApiError;

function failing(answer: Answered, asked: Asked): Fail {
  return (trouble, said, todo, code) =>
    new ApiError(trouble, `${nameOf(asked)}: ${said}; ${todo}`, {
      status: answer.status,
      retryAfterMs: answer.retryAfterMs,
      code,
    });
}

/** `YClients, company 42, records`. */
export function nameOf({ brand, companyId, operation }: Asked): string {
  return `${BRANDS[brand].name}, company ${companyId}, ${operation}`;
}

function parse(text: string): unknown {
  try {
    const parsed: unknown = JSON.parse(text);
    return parsed;
  } catch {
    // The error would quote the body: it is not kept.
    return undefined;
  }
}

function emptyAnswer(
  status: number,
  fine: boolean,
  asked: Asked,
  fail: Fail,
): { readonly data: null } | ApiError {
  // A 204 of a read comes out as null, which no reader takes for data.
  if (fine) return { data: null };
  // An empty 404 may be a proxy's: taken for the API's, it would say that a booking is gone.
  if (status === 404) return fail('unavailable', 'status 404 without a word', 'check YCLIENTS_API_URL');
  return refusalOf({ status, code: undefined, text: '' }, asked, fail);
}

function readBody(
  body: unknown,
  status: number,
  fine: boolean,
  asked: Asked,
  fail: Fail,
): { readonly data: unknown } | ApiError {
  // Some old calls answer the bare list.
  if (Array.isArray(body)) {
    return fine
      ? { data: body }
      : fail('unreadable', `a list with status ${status}`, 'it is an answer not known yet');
  }
  if (!isObject(body)) return fail('unreadable', 'JSON that is no object', 'it is an answer not known yet');
  const errors = own(body, 'errors');
  const success = own(body, 'success');
  const failed =
    success === false ||
    success === 0 ||
    success === 'false' ||
    (success === undefined && isObject(errors) && Object.keys(errors).length > 0);
  if (fine && !failed) {
    if (Object.hasOwn(body, 'data')) return { data: body.data };
    if (success !== undefined) return { data: null };
    // An old form: the thing itself, without an envelope.
    if (Object.hasOwn(body, 'id')) return { data: body };
    return fail('unreadable', 'an object without data', 'it is an answer not known yet');
  }
  const meta = own(body, 'meta');
  const known = success !== undefined || errors !== undefined || meta !== undefined;
  if (!known && status === 404) {
    return fail('unreadable', 'a 404 that is not the API’s', 'check YCLIENTS_API_URL');
  }
  return refusalOf(
    { status, code: codeIn(errors) ?? codeIn(meta), text: textIn(errors) || textIn(meta) },
    asked,
    fail,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(object: unknown, name: string): unknown {
  return isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined;
}

function codeIn(object: unknown): number | undefined {
  const code = own(object, 'code');
  if (typeof code === 'number' && Number.isInteger(code)) return code;
  return typeof code === 'string' && /^\d{1,6}$/.test(code) ? Number(code) : undefined;
}

/** To be matched only, never to be shown. Bounded, because patterns run over it. */
function textIn(object: unknown): string {
  const message = own(object, 'message');
  return typeof message === 'string' ? message.slice(0, 500) : '';
}

type Refusal = {
  readonly status: number;
  readonly code: number | undefined;
  readonly text: string;
};

const PARTNER = /partner|партн[её]р/i;
const USER = /user|пользовател|авториз|authori[sz]|log ?in|логин|token|токен/i;
const RIGHT = /прав|доступ|right|access|permission|forbidden/i;
const COMPANY = /филиал|компани|салон|company|salon|location/i;
const ABSENT = /не найден|not found|не существует|does not exist/i;

/** What a refusal means. `success: false` with 200 takes its meaning from the code in the body, then from the words. */
function refusalOf({ status, code, text }: Refusal, asked: Asked, fail: Fail): ApiError {
  switch (meaningOf(status, code, text)) {
    case 401:
      return unauthorised(status, text, asked, (said, todo) => fail('unauthorised', said, todo, code));
    case 403:
      return forbidden(status, text, asked, (said, todo) => fail('forbidden', said, todo, code));
    case 404:
      // Of a company that is not there no booking can be said to be gone.
      if (COMPANY.test(text)) {
        return fail(
          'forbidden',
          'no such company for these tokens',
          'check its id and the user’s companies',
          code,
        );
      }
      return fail('not_found', 'it is not there', 'nothing to do if it was deleted', code);
    case 429:
      return fail('limited', 'too many calls from this address', 'it is asked again later by itself', code);
    case 500:
      return fail('unavailable', `status ${status}`, 'it is asked again later', code);
    default: {
      const reason = code === undefined ? '' : `, code ${code}`;
      return fail(
        'refused',
        `the API said no (status ${status}${reason})`,
        'see the API’s list of codes',
        code,
      );
    }
  }
}

function meaningOf(status: number, code: number | undefined, text: string): number {
  if (status >= 500 || status === 408) return 500;
  if (status >= 400) return status;
  if (code !== undefined && code >= 500 && code < 600) return 500;
  if (code !== undefined && code >= 400) return code;
  if (ABSENT.test(text)) return 404;
  if (RIGHT.test(text)) return 403;
  return PARTNER.test(text) || USER.test(text) ? 401 : 400;
}

function unauthorised(
  status: number,
  text: string,
  { brand, companyId }: Asked,
  fail: (said: string, todo: string) => ApiError,
): ApiError {
  const { partner, user } = BRANDS[brand];
  const ofUser = `set ${user}, or the company’s own by \`company set ${companyId} --user-token-stdin\``;
  if (PARTNER.test(text)) {
    return fail(
      `the partner token is not accepted (status ${status})`,
      `set ${partner} to the one you were given`,
    );
  }
  if (USER.test(text)) return fail(`the user token is not accepted (status ${status})`, ofUser);
  return fail(
    `one half of the authorisation is not accepted, the API does not say which (status ${status})`,
    `check ${partner}; then ${ofUser}`,
  );
}

function forbidden(
  status: number,
  text: string,
  { brand, companyId, operation }: Asked,
  fail: (said: string, todo: string) => ApiError,
): ApiError {
  const { name, partner } = BRANDS[brand];
  if (PARTNER.test(text)) {
    return fail(
      `the application of ${partner} has no access to company ${companyId} (status ${status})`,
      `connect the application to the company in ${name}`,
    );
  }
  return fail(
    `the user of the token lacks the right ${RIGHTS[operation]} (status ${status})`,
    `give it in ${name} under Settings → Users of company ${companyId}, or use another user’s token`,
  );
}

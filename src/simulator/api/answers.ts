/** What the API answers: data in its envelope, or a refusal in one of the two documented forms. */
import type { Json, JsonObject } from '../webhook.ts';

/** Of a handler: data (with its `meta`) to put into the envelope; null data and 204 is an answer without a body. */
export type Answer = { readonly status?: number; readonly data: Json; readonly meta?: Json };

/** `success`: `{"success":false,"data":null,"meta":{"message"}}`; `errors`: `{"errors":{"code","message"},"meta":{…}}`. */
export type ErrorForm = 'success' | 'errors';

/** The API says no. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  /** By field, as a 422 lists them. */
  readonly fields: JsonObject | undefined;

  constructor(status: number, message: string, fields?: JsonObject) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

export function answerText({ data, meta = [] }: Answer): string {
  return JSON.stringify({ success: true, data, meta });
}

export function refusalText({ status, message, fields }: Refusal, form: ErrorForm): string {
  const meta = { message, ...(fields === undefined ? {} : { errors: fields }) };
  return JSON.stringify(
    form === 'errors' ? { errors: { code: status, message }, meta } : { success: false, data: null, meta },
  );
}

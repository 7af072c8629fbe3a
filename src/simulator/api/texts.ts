/**
 * The platform's own texts, handed to a salon's SMS operator, and what the operator says became of them: `POST
 * /smsprovider/status/callback/{partner_token}`.
 */
import { z } from 'zod';
import { Refusal } from './answers.ts';
import type { Route } from './route.ts';

export type Text = {
  readonly phone: string;
  readonly text: string;
  readonly channel?: 'sms' | 'whatsapp';
  readonly dispatchType?: 'service' | 'adds';
};

export type Texts = {
  readonly routes: readonly Route[];
  /** A new text of a company: its id, and the body that the operator is posted. */
  write(companyId: number, text: Text): { readonly id: string; readonly body: string };
  companyOf(id: string): number | undefined;
  /** What was said of a text, in the order in which it came. */
  statuses(id: string): readonly number[];
};

const FIRST_ID = 232_674;
const KNOWN = new Set([1, 2, 4, 8, 16, 52]);
const callback = z.object({
  id: z.string(),
  status: z.number(),
  payment_sum: z.number(),
  currency_iso: z.string().length(3),
  parts_amount: z.number().int().positive(),
});

export function openTexts({ partnerToken, url }: { partnerToken: string; url: () => string }): Texts {
  const texts = new Map<string, { readonly companyId: number; readonly statuses: number[] }>();

  const hear: Route['handle'] = ({ params, body, branch }) => {
    if (params.token !== partnerToken) throw new Refusal(401, 'INVALID_PARTNER_TOKEN');
    const { data, error } = callback.safeParse(body);
    if (error !== undefined || !KNOWN.has(data.status)) throw new Refusal(400, 'ENTITY_VALIDATION_ERROR');
    const text = texts.get(data.id);
    if (text?.companyId !== branch.companyId) throw new Refusal(404, 'RESOURCE_NOT_FOUND');
    text.statuses.push(data.status);
    return { data: [] };
  };

  return {
    routes: [
      {
        method: 'POST',
        path: '/smsprovider/status/callback/:token',
        operation: 'text_status',
        needs: 'partner',
        handle: hear,
      },
    ],
    write(companyId, { phone, text, channel = 'sms', dispatchType = 'service' }) {
      const id = String(FIRST_ID + texts.size);
      texts.set(id, { companyId, statuses: [] });
      const body = JSON.stringify({
        destination_params: { id, phone },
        ...{ from: 'Salon', text, type: channel, dispatch_type: dispatchType },
        delivery_callback_url: `${url()}/smsprovider/status/callback/${partnerToken}`,
      });
      return { id, body };
    },
    companyOf: id => texts.get(id)?.companyId,
    statuses: id => [...(texts.get(id)?.statuses ?? [])],
  };
}

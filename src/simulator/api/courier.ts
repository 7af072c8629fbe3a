/**
 * Takes webhooks to the URLs of a salon's settings, by the plan of `faults.ts`: copies, order, lateness, loss.
 * Each URL is posted to in its own time; a slow one holds no other.
 */
import type { Clock } from '../clock.ts';
import { type Delivery, type Faults, planDeliveries, type WayOptions } from '../faults.ts';
import type { Random } from '../random.ts';
import { type Answer, createSender, type Sender } from '../sender.ts';
import type { Webhook } from '../webhook.ts';

export type Way = WayOptions & { readonly faults: Faults };

/** `answers`: how each request ended, a status, `timeout` or `network`. */
export type CourierStats = {
  readonly requests: number;
  readonly dropped: number;
  readonly answers: { readonly [answer: string]: number };
};

export type Courier = {
  /** `listeners` answers the URLs that hear of a webhook. */
  send(webhooks: readonly Webhook[], listeners: (webhook: Webhook) => readonly string[]): void;
  /** One request, now. Never rejects. */
  post(url: string, body: string): Promise<Answer>;
  /** When everything that was sent so far has been answered or given up. */
  settled(): Promise<void>;
  stats(): CourierStats;
  close(): Promise<void>;
};

export function openCourier(clock: Clock, random: Random, { faults, ...options }: Way): Courier {
  const senders = new Map<string, Sender>();
  const underWay = new Set<Promise<void>>();
  const answers: Record<string, number> = {};
  const closing = new AbortController();
  let [requests, dropped] = [0, 0];

  const post = async (url: string, body: string): Promise<Answer> => {
    const sender = senders.get(url) ?? createSender({ to: url, clock });
    senders.set(url, sender);
    requests += 1;
    const answer = await sender.post(body);
    for (const outcome of answer.tries) answers[outcome] = (answers[outcome] ?? 0) + 1;
    return answer;
  };

  const deliver = async ({ body, dueAt }: Delivery, urls: readonly string[]): Promise<void> => {
    await clock.sleep(Math.max(0, dueAt - clock.now()), closing.signal);
    if (closing.signal.aborted) return;
    await Promise.all(urls.map(url => post(url, body)));
  };

  const settled = async () => {
    while (underWay.size > 0) await Promise.all(underWay);
  };

  return {
    send(webhooks, listeners) {
      const heard = webhooks.filter(webhook => listeners(webhook).length > 0);
      const plan = planDeliveries(heard, random, faults, options);
      dropped += plan.dropped.length;
      for (const delivery of plan.deliveries) {
        const sending = deliver(delivery, listeners(delivery.webhook)).finally(() =>
          underWay.delete(sending),
        );
        underWay.add(sending);
      }
    },
    post,
    settled,
    stats: () => ({ requests, dropped, answers: { ...answers } }),
    async close() {
      closing.abort();
      await settled();
      await Promise.all([...senders.values()].map(sender => sender.close()));
    },
  };
}

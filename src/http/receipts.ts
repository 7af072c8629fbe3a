/**
 * `/receipts/{provider}/{secret}`: where providers tell what became of messages, and what people sent back. The address is
 * a secret; who does not know it, or whose signature is not the provider's, gets the same 404 as for any path, and 429
 * after many. The secret is looked at before the body is read. What cannot be kept is not answered by 200, and the
 * provider calls again.
 */
import { timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Metrics } from '../metrics.ts';
import { saveHeard } from '../store/heard.ts';
import { type Pool, retried } from '../store/pool.ts';
import { type NewReceipt, saveReceipts } from '../store/receipts.ts';
import { countMisses, tooMany } from './guard.ts';
import { NOT_FOUND, sendProblem } from './problem.ts';
import type { ReceiptSecrets } from './receipt-secrets.ts';

/** One provider's way, as `channels/receipts.ts` has it. */
type Reader = {
  readonly channel: NewReceipt['channel'];
  readonly answer: string;
  read(
    body: Buffer,
    headers: Readonly<Record<string, unknown>>,
  ): readonly Omit<NewReceipt, 'channel' | 'provider'>[] | undefined;
  challenge?(query: Readonly<Record<string, unknown>>, secret: string): string | undefined;
  hear?(body: Buffer): readonly { readonly updateId: string; readonly said: object }[];
  answerTo?(body: Buffer): string;
};

export type ReceiptRoute = {
  readonly pool: Pool;
  readonly secretsOf: ReceiptSecrets;
  /** By the provider's name. */
  readonly readers: ReadonlyMap<string, Reader>;
  /** Something new was kept for whoever listens. */
  readonly onHeard?: () => void;
};

/** Meta sends up to a thousand at once, some 600 bytes each. */
export const BODY_LIMIT_BYTES = 1024 * 1024;

type Asked = FastifyRequest<{ Params: { provider: string; secret: string } }>;

export function addReceiptRoutes(
  app: FastifyInstance,
  { metrics }: { readonly metrics: Metrics },
  { pool, secretsOf, readers, onHeard }: ReceiptRoute,
): void {
  const misses = countMisses();
  const readerOf = ({ params }: Asked) => readers.get(params.provider);

  /** Before the body is read. */
  async function admit(request: Asked, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const { provider, secret } = request.params;
    const live = readers.has(provider) ? await secretsOf(provider) : [];
    if (live.some(one => isSecret(secret, one))) return undefined;
    const waitSeconds = await misses(request.ip);
    if (waitSeconds === 0) return refuse(reply);
    const refusal = tooMany('receipt_rate', waitSeconds);
    metrics.rejected.inc({ cause: refusal.cause });
    return sendProblem(reply, refusal);
  }

  async function refuse(reply: FastifyReply): Promise<FastifyReply> {
    metrics.rejected.inc({ cause: 'receipt' });
    return sendProblem(reply, NOT_FOUND);
  }

  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: BODY_LIMIT_BYTES },
      (_request, body, parsed) => parsed(null, body),
    );

    scope.get('/receipts/:provider/:secret', { onRequest: admit }, async (request: Asked, reply) => {
      const answer = readerOf(request)?.challenge?.(Object(request.query), request.params.secret);
      return answer === undefined ? refuse(reply) : reply.type('text/plain').send(answer);
    });

    scope.post('/receipts/:provider/:secret', { onRequest: admit }, async (request: Asked, reply) => {
      const reader = readerOf(request);
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const receipts = reader?.read(body, request.headers);
      if (reader === undefined || receipts === undefined) return refuse(reply);
      const { channel } = reader;
      const { provider } = request.params;
      const heard = reader.hear?.(body) ?? [];
      const told = receipts.map(receipt => ({ ...receipt, channel, provider }));
      // Two calls that tell of the same messages may lock them crosswise.
      await retried(() => saveReceipts(pool, told));
      for (const { status } of receipts) metrics.receipts.inc({ channel, status });
      const kept = await saveHeard(
        pool,
        heard.map(update => ({ ...update, channel })),
      );
      if (kept > 0) onHeard?.();
      return reply.type('text/plain').send(reader.answerTo?.(body) ?? reader.answer);
    });
    done();
  });
}

function isSecret(given: string, secret: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(secret)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** A client with nothing but a mailbox: smtp-server takes the e-mails, a server of ours has the page of their links. */
import assert from 'node:assert/strict';
import Fastify from 'fastify';
import { createEmail } from '../../src/channels/email.ts';
import { writeLink } from '../../src/domain/answer.ts';
import { addAnswerRoutes } from '../../src/http/answer.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createVault } from '../../src/vault.ts';
import { createActor } from '../../src/work/act.ts';
import { smtpServer } from '../channels/counterparts.ts';
import { createAnswering } from './answering.ts';

export type Mail = { readonly head: string; readonly text: string };

export async function createAnsweringByMail(t: { after(end: () => Promise<void>): void }) {
  const mails: Mail[] = [];
  /** What the mail server answers to the next bodies; takes them when there is nothing. */
  const refusals: number[] = [];
  const smtp = await smtpServer(t, {
    async onData(stream, _session, done) {
      const source = Buffer.concat(await stream.toArray()).toString();
      const refusal = refusals.shift();
      if (refusal !== undefined) return done(Object.assign(new Error('not now'), { responseCode: refusal }));
      const [head = '', ...body] = source.split('\r\n\r\n');
      const base64 = /transfer-encoding: base64/i.test(head);
      const text = base64
        ? Buffer.from(body.join(''), 'base64').toString()
        : readQuoted(body.join('\r\n\r\n'));
      mails.push({ head: head.replaceAll(/\r\n[ \t]+/g, ' '), text });
      return done();
    },
  });
  const vault = createVault(Buffer.alloc(32, 1));
  const channel = createEmail({
    smtpUrl: `smtp://127.0.0.1:${smtp.port}`,
    from: 'Студия <robot@studio.test>',
  });
  let root = '';
  const answering = await createAnswering(channel, {
    answerUrl: (companyId, messageId) =>
      `${root}/answers/${writeLink({ companyId, messageId, proof: vault.proveLink(companyId, messageId) })}`,
  });
  const { pipeline, api, books } = answering;
  const metrics = createMetrics();
  const app = Fastify();
  addAnswerRoutes(
    app,
    { metrics, log: createLog('silent') },
    { pool: pipeline.pool, vault, now: () => pipeline.now },
  );
  root = await app.listen({ host: '127.0.0.1', port: 0 });
  const actor = createActor({
    ...{ pool: pipeline.pool, log: createLog('silent'), metrics, mouths: new Map() },
    now: () => pipeline.now,
    random: () => 0.5,
    apiOf: async () => api,
    onFound: () => {},
  });
  t.after(async () => {
    await app.close();
    await answering.close();
  });

  let person = 0;
  /** Somebody new, with an address of their own. */
  function somebody() {
    person += 1;
    mails.length = 0;
    return { phone: `+7900222${1000 + person}`, email: `mila${person}@mail.test` };
  }
  return {
    ...answering,
    ...{ mails, refusals, root, actor, somebody },
    async booked() {
      const { phone, email } = somebody();
      const recordId = await books({ phone, email });
      const [mail] = mails;
      assert.ok(mail, 'a mail came');
      return { recordId, mail, link: linkIn(mail), stop: stopIn(mail), phone, address: email };
    },
  };
}

const linkIn = ({ text }: Mail) => /Подтвердить, перенести или отменить: (\S+)/.exec(text)?.[1] ?? '';
const stopIn = ({ head }: Mail) => /^List-Unsubscribe: <([^>]+)>$/m.exec(head)?.[1] ?? '';

function readQuoted(text: string): string {
  const bytes = text
    .replaceAll(/=\r\n/g, '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  return Buffer.from(bytes, 'latin1').toString();
}

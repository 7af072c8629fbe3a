/** What whoever has nothing but a mailbox can answer, and what becomes of the mail. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { findContacts } from '../../src/store/messages.ts';
import { COMPANY } from './answering.ts';
import { createAnsweringByMail } from './answering-by-mail.ts';

const rig = await createAnsweringByMail({ after });
const { pipeline, books, settles, tellsOf, attendanceOf, isDeleted, stateOf } = rig;
const { mails, refusals, root, actor, somebody, booked } = rig;

async function page(url: string, fields?: Record<string, string>) {
  const response = await fetch(url, {
    ...(fields === undefined ? {} : { method: 'POST', body: new URLSearchParams(fields) }),
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

test('the link opens a page that changes nothing; its button confirms, and the page says what came of it', async () => {
  const { recordId, link } = await booked();
  for (const look of [1, 2]) {
    const { status, text, headers } = await page(link);
    assert.equal(status, 200, `look ${look}`);
    assert.match(text, /Студия Север: 20 мая, вторник, 14:30/);
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'.*form-action 'self'/);
    assert.equal(headers.get('cache-control'), 'no-store');
  }
  assert.equal(
    await stateOf('confirm', recordId),
    undefined,
    'a mail server that opens links answers nothing',
  );
  const waiting = await page(link, { act: 'confirm' });
  assert.match(waiting.text, /Записываем у салона/);
  assert.equal(waiting.headers.get('refresh'), '2');
  await actor.runOnce();
  assert.equal(attendanceOf(recordId), 2);
  const done = await page(link);
  assert.match(done.text, /Спасибо, ждём вас: 20 мая, вторник, 14:30/);
  assert.equal(done.headers.get('refresh'), null);
  assert.match(done.text, /Отменить запись/, 'who confirmed may still be prevented from coming');
});

test('a visit is cancelled only after the second page', async () => {
  const { recordId, link } = await booked();
  const question = await page(link, { act: 'ask_cancel' });
  assert.match(question.text, /Отменить запись на 20 мая, вторник, 14:30\?/);
  await actor.runOnce();
  assert.equal(isDeleted(recordId), false);
  await page(link, { act: 'cancel' });
  await actor.runOnce();
  assert.equal(isDeleted(recordId), true);
  assert.match((await page(link)).text, /отменена/);
  mails.length = 0;
  await settles();
  await tellsOf(recordId, 'delete');
  assert.deepEqual(mails, [], 'no mail of what they did themselves');
});

test('“move” shows where the visit can be moved, and it can still be confirmed or cancelled', async () => {
  const { recordId, link } = await booked();
  await page(link, { act: 'move' });
  await actor.runOnce();
  const { text } = await page(link);
  assert.match(text, /<a href="https:\/\/salon\.example\/c\/x\/" rel="noreferrer">/);
  assert.match(text, /Подтверждаю.*Отменить запись/s);
  assert.equal(attendanceOf(recordId), 0);
  await page(link, { act: 'confirm' });
  await actor.runOnce();
  assert.equal(attendanceOf(recordId), 2);
  assert.match((await page(link)).text, /Спасибо, ждём вас/);
});

test('a link that was altered, or made up, shows nothing of anybody', async () => {
  const { recordId, link } = await booked();
  const [path, proof = ''] = [link.slice(0, link.lastIndexOf('.')), link.slice(link.lastIndexOf('.') + 1)];
  const other = `${proof.startsWith('A') ? 'B' : 'A'}${proof.slice(1)}`;
  for (const wrong of [
    `${path}.${other}`,
    `${path}.`,
    `${root}/answers/x`,
    `${link}x`,
    `${path}.${'я'.repeat(43)}`,
  ]) {
    for (const fields of [undefined, { act: 'confirm' }]) {
      const { status, text } = await page(wrong, fields);
      assert.equal(status, 404, wrong);
      assert.doesNotMatch(text, /Север|мая/);
    }
  }
  assert.equal(await stateOf('confirm', recordId), undefined);
});

test('a form that is huge, of another kind or says something else does nothing; pressed at once it is done once', async () => {
  const { recordId, link } = await booked();
  const post = async (body: string | Buffer, type = 'application/x-www-form-urlencoded') =>
    (
      await fetch(link, {
        method: 'POST',
        body: new Uint8Array(Buffer.from(body)),
        headers: { 'content-type': type },
      })
    ).status;
  assert.equal(await post(Buffer.alloc(10 * 1024 * 1024, 'a')), 413);
  assert.equal(await post('{"act":"cancel"}', 'application/json'), 415);
  for (const form of ['', 'act=delete', 'act[]=cancel', 'act=%ff%fe', 'ACT=cancel', 'act=cancel%00'])
    assert.equal(await post(form), 200, form);
  const { rows: none } = await pipeline.pool.query('SELECT id FROM actions WHERE record_id = $1', [recordId]);
  assert.deepEqual(none, []);

  await Promise.all(Array.from({ length: 8 }, () => post('act=confirm')));
  const { rows } = await pipeline.pool.query('SELECT kind FROM actions WHERE record_id = $1', [recordId]);
  assert.deepEqual(rows, [{ kind: 'confirm' }]);
  await actor.runOnce();
  assert.equal(attendanceOf(recordId), 2);
});

test('a link that is opened after the visit confirms and cancels nothing', async () => {
  const { recordId, link } = await booked();
  const { now } = pipeline;
  pipeline.now = Date.parse('2031-05-20T12:00:00Z');
  for (const act of ['confirm', 'cancel']) {
    await page(link, { act });
    await actor.runOnce();
    assert.deepEqual(await stateOf(act, recordId), { state: 'refused', reason: 'over' });
  }
  pipeline.now = now;
  assert.deepEqual([attendanceOf(recordId), isDeleted(recordId)], [0, false]);
});

test('the mailer’s “unsubscribe” ends mails to that address with one POST, and is kept as proof', async () => {
  const { mail, stop, phone, address } = await booked();
  assert.match(mail.head, /^List-Unsubscribe-Post: List-Unsubscribe=One-Click$/m);
  const asked = await page(stop);
  assert.match(asked.text, /Не присылать/, 'opened by a person it asks first');
  const { rows: before } = await pipeline.pool.query('SELECT 1 FROM consents WHERE address = $1', [address]);
  assert.equal(before.length, 0);
  assert.equal((await page(stop, { 'List-Unsubscribe': 'One-Click' })).status, 200);
  const { rows } = await pipeline.pool.query(
    'SELECT category, granted, words FROM consents WHERE address = $1 ORDER BY id',
    [address],
  );
  assert.deepEqual(rows, [
    { category: 'service', granted: false, words: 'unsubscribe link' },
    { category: 'advertising', granted: false, words: 'unsubscribe link' },
  ]);
  mails.length = 0;
  await books({ phone }, '2031-06-01T10:00:00');
  assert.deepEqual(mails, []);
});

test('one-click is taken in each form that RFC 8058 allows, and whatever else a mailer sends along', async () => {
  const multipart = new FormData();
  multipart.set('List-Unsubscribe', 'One-Click');
  const forms: readonly RequestInit[] = [
    { body: multipart },
    { body: 'List-Unsubscribe=One-Click', headers: { 'content-type': 'text/plain' } },
    { body: new Uint8Array(Buffer.from('List-Unsubscribe=One-Click')) },
    {},
  ];
  for (const form of forms) {
    const { stop, address } = await booked();
    assert.equal((await fetch(stop, { method: 'POST', ...form })).status, 200);
    const { rows } = await pipeline.pool.query('SELECT granted FROM consents WHERE address = $1', [address]);
    assert.deepEqual(rows, [{ granted: false }, { granted: false }]);
  }
  const { stop, address } = await booked();
  const huge = new Uint8Array(Buffer.alloc(64 * 1024, 'a'));
  assert.equal((await fetch(stop, { method: 'POST', body: huge })).status, 413);
  const { rows } = await pipeline.pool.query('SELECT granted FROM consents WHERE address = $1', [address]);
  assert.deepEqual(rows, []);
});

test('the link of an old mail ends mails to the address it went to, and to the person, whatever their card has by then', async () => {
  const { stop, address } = await booked();
  const { pool } = pipeline;
  const changed = 'New@mail.test';
  const { rows: people } = await pool.query(
    'UPDATE people SET email = $2 WHERE email = $1 RETURNING client_id AS "clientId"',
    [address, changed],
  );
  const [{ clientId }] = people;
  assert.match((await page(stop, { 'List-Unsubscribe': 'One-Click' })).text, /Больше не пишем на этот адрес/);
  const { rows } = await pool.query(
    'SELECT address, category, client_id AS "clientId" FROM consents WHERE client_id = $1 ORDER BY category',
    [clientId],
  );
  assert.deepEqual(rows, [
    { address, category: 'advertising', clientId },
    { address, category: 'service', clientId },
  ]);
  const refused = async () =>
    (await findContacts(pool, [{ companyId: COMPANY, clientId }]))[0]?.refusedOn.includes('email');
  assert.equal(await refused(), true, 'nor at the new address');
  // Whoever else has the mailbox gets none there either.
  await pool.query('UPDATE people SET client_id = client_id + 500000, email = $2 WHERE client_id = $1', [
    ...[clientId, address.toUpperCase()],
  ]);
  const [other] = await findContacts(pool, [{ companyId: COMPANY, clientId: clientId + 500_000 }]);
  assert.deepEqual(other?.refusedOn, ['email']);
});

test('where nothing could be kept, the page does not say that it was', async () => {
  const { stop } = await booked();
  const count = async () => (await pipeline.pool.query('SELECT FROM consents')).rowCount;
  const before = await count();
  // As when they were erased while the page was open.
  await pipeline.pool.query(
    "UPDATE messages SET recipient = 'erased:' || id WHERE $1 LIKE '%' || id || '%'",
    [stop],
  );
  const { status, text } = await page(stop, { 'List-Unsubscribe': 'One-Click' });
  assert.equal(status, 404);
  assert.match(text, /Не получилось/);
  assert.doesNotMatch(text, /Больше не пишем/);
  assert.equal(await count(), before);
});

test('451 is tried again and then sent once; 550 fails the message for good', async () => {
  refusals.push(451);
  const recordId = await books(somebody());
  assert.deepEqual(mails, []);
  pipeline.now += 60_000;
  await settles();
  assert.equal(mails.length, 1);
  const outcomes = async (id: number) =>
    (
      await pipeline.pool.query(
        `SELECT a.outcome, a.reason, m.state FROM attempts a JOIN messages m ON m.id = a.message_id
         WHERE m.record_id = $1 ORDER BY number`,
        [id],
      )
    ).rows;
  assert.deepEqual(await outcomes(recordId), [
    { outcome: 'retry', reason: 'SMTP 451 at DATA', state: 'sent' },
    { outcome: 'sent', reason: '', state: 'sent' },
  ]);
  refusals.push(550);
  const refused = await books(somebody());
  pipeline.now += 3_600_000;
  await settles();
  assert.deepEqual(await outcomes(refused), [
    { outcome: 'rejected', reason: 'SMTP 550 at DATA', state: 'failed' },
  ]);
});

test('who asks for links that are none is asked to wait; good links from there work, each as often as a person needs it', async () => {
  const { link } = await booked();
  const { link: other } = await booked();
  const tooMany = /Слишком часто.*Too often/s;
  let guess = 0;
  const missed = async () => {
    guess += 1;
    return page(`${link.slice(0, -8)}${String(guess).padStart(8, 'A')}`);
  };
  let refused = await missed();
  for (let tries = 0; refused.status === 404 && tries < 200; tries += 1) refused = await missed();
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.match(refused.text, tooMany);
  assert.doesNotMatch(refused.text, /устарела/);

  // A minute of two tabs that wait for the platform, and look again every two seconds.
  for (let look = 0; look < 60; look += 1) assert.equal((await page(link)).status, 200, `look ${look}`);
  let beyond = await page(link);
  for (let tries = 0; beyond.status === 200 && tries < 200; tries += 1) beyond = await page(link);
  assert.equal(beyond.status, 429);
  assert.ok(Number(beyond.headers.get('retry-after')) >= 1);
  assert.match(beyond.text, tooMany);
  assert.equal((await page(other)).status, 200, 'it is of this message alone');
});

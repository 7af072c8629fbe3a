/**
 * The page behind an e-mail's link, as a phone shows it: Debian's Chromium in the width of the narrowest phones, without
 * scripts. What the page may do is told to the browser by headers, and only a browser says whether they let it work.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { createAnsweringByMail } from '../work/answering-by-mail.ts';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const PHONE = { width: 320, height: 640 };
/** WCAG 2.2, target size, enhanced. */
const THUMB_PX = 44;
const PATIENCE_MS = 30_000;

const { root, booked, actor, attendanceOf, isDeleted, pipeline } = await createAnsweringByMail({ after });
let browser: Browser;

before(async () => {
  browser = await chromium
    // Whoever runs CI as root has no other sandbox than the machine.
    .launch({ executablePath: EXECUTABLE, chromiumSandbox: process.getuid?.() !== 0, timeout: PATIENCE_MS })
    .catch((error: Error) => {
      throw new Error(`no browser at ${EXECUTABLE} (scripts/debian.sh installs it): ${error.message}`);
    });
});
after(() => browser?.close());

/** A page of a phone's width; `complaints` is what the browser refused or could not do. */
async function phone(colorScheme: 'light' | 'dark' = 'light') {
  const context = await browser.newContext({ viewport: PHONE, javaScriptEnabled: false, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const [complaints, asked]: [string[], string[]] = [[], []];
  page.on('console', message => complaints.push(message.text()));
  page.on('requestfailed', request => complaints.push(`${request.method()} ${request.url()}`));
  page.on('request', request => asked.push(request.url()));
  return { page, complaints, asked };
}

const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
const says = (page: Page, words: string) => page.getByText(words).waitFor();

test('confirm: one press, and the page says by itself what came of it', async () => {
  const { recordId, link } = await booked();
  const { page, complaints, asked } = await phone();
  await page.goto(link);
  await press(page, 'Подтверждаю');
  await says(page, 'Записываем у салона');
  await actor.runOnce();
  assert.equal(attendanceOf(recordId), 2);
  await says(page, 'Спасибо, ждём вас');
  assert.deepEqual(complaints, []);
  assert.deepEqual(
    asked.filter(url => !url.startsWith(`${root}/answers/`) && !url.endsWith('/favicon.ico')),
    [],
    'nothing else is asked of anybody',
  );
});

test('cancel: the question comes first, and to come stands out in it', async () => {
  const { recordId, link } = await booked();
  const { page, complaints } = await phone();
  await page.goto(link);
  await press(page, 'Отменить запись');
  await says(page, 'Отменить запись на 20 мая, вторник, 14:30?');
  const [cancel, keep] = await Promise.all(['Да, отменить', 'Нет, приду'].map(name => colourOf(page, name)));
  assert.notEqual(cancel, keep);
  await actor.runOnce();
  assert.equal(isDeleted(recordId), false);
  await press(page, 'Да, отменить');
  await says(page, 'Записываем у салона');
  await actor.runOnce();
  assert.equal(isDeleted(recordId), true);
  await says(page, 'отменена');
  assert.deepEqual(complaints, []);
});

test('unsubscribe, opened by a person: one press', async () => {
  const { stop, address } = await booked();
  const { page, complaints } = await phone();
  await page.goto(stop);
  await press(page, 'Не присылать сюда сообщений');
  await says(page, 'Больше не пишем на этот адрес');
  const { rowCount } = await pipeline.pool.query('SELECT FROM consents WHERE address = $1', [address]);
  assert.equal(rowCount, 2, 'service and advertising');
  assert.deepEqual(complaints, []);
});

for (const scheme of ['light', 'dark'] as const) {
  test(`fits a narrow phone, ${scheme}: nothing to scroll sideways, buttons for a thumb, words to be read`, async () => {
    const { link } = await booked();
    const { page } = await phone(scheme);
    await page.goto(link);
    const buttons = await page.getByRole('button').all();
    assert.equal(buttons.length, 3);
    for (const button of buttons) {
      const box = await button.boundingBox();
      assert.ok(box !== null && box.height >= THUMB_PX && box.x >= 0 && box.x + box.width <= PHONE.width);
    }
    const session = await page.context().newCDPSession(page);
    const { cssContentSize } = await session.send('Page.getLayoutMetrics');
    assert.equal(cssContentSize.width, PHONE.width);
  });
}

const colourOf = (page: Page, name: string) =>
  page.getByRole('button', { name }).evaluate(button => getComputedStyle(button).backgroundColor);

/** Of the browser: there is no DOM in the types of a server. */
declare function getComputedStyle(element: unknown): { readonly backgroundColor: string };

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createTexts, TEXT_KINDS } from '../../src/domain/text.ts';
import { brokenTexts, listTexts, resetText, setText, textsOf, tryTexts } from '../../src/salon/texts.ts';
import { loadTemplates } from '../../src/templates.ts';
import { createPipeline, type Pipeline, recordBody } from '../work/pipeline.ts';

const texts = createTexts(loadTemplates());
const BOOKED = { companyId: 1, locale: 'ru', kind: 'booked' } as const;
const OWN =
  "Ждём: {{ after.time }}\n---\n{{ client.name }}, мастер {{ after.staff | in_case: 'genitive' }} ждёт вас.\n";

const LOOP = '{% for one in after.services %}';

let pipeline: Pipeline;
const deps = () => ({ pool: pipeline.pool, texts, actor: 'command' as const });
before(async () => {
  pipeline = await createPipeline();
  await pipeline.addCompany({ companyId: 1 });
  await pipeline.addCompany({ companyId: 2 });
});
after(() => pipeline.close());

/** The text of the notice that a new booking gets. */
async function said(companyId: number, id: number): Promise<string | undefined> {
  const body = recordBody({ id, companyId, at: pipeline.now });
  await pipeline.receive(companyId, [{ body, receivedAt: pipeline.now }]);
  await pipeline.settle();
  return pipeline.sent.find(({ recordId }) => recordId === id)?.text;
}

test('a company’s own text is what its clients read, from the next message on; others keep ours', async () => {
  const tried = await setText(deps(), BOOKED, OWN);
  assert.equal(tried.samples.length, 2);
  assert.equal(await said(1, 11), 'Анна, мастер Ольги ждёт вас.');
  assert.match((await said(2, 12)) ?? '', /вы записаны/);
  const mine = (await listTexts(deps(), 1)).filter(({ own }) => own);
  assert.deepEqual(mine, [{ ...BOOKED, own: true, source: OWN }]);
  await resetText(deps(), BOOKED);
  assert.match((await said(1, 13)) ?? '', /вы записаны/);
  await assert.rejects(resetText(deps(), BOOKED), /has no text ru\/booked of its own/);
});

test('what is wrong with a text is said before it is kept: the line, and what there is', async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['Тема\n---\n{{ after.whem }}', /undefined variable: after\.whem.*there are client\.name.*after\.when/s],
    ['Тема\n---\n{{ client.phone }}', /undefined variable: client\.phone/],
    ['Тема\n---\nРаз\n{{ after.whem }}', /after\.whem, line:4, /],
    // In branches that neither sample takes.
    [
      "Тема\n---\nРаз\n{% if client.name == 'Я' %}{{ after.whem }}{% endif %}",
      /undefined variable: after\.whem, line:4; there are client\.name/,
    ],
    ['Тема\n---\n{% if after.more > 90 %}{% for one in befor.services %}{% endfor %}{% endif %}', /befor/],
    ["Тема\n---\n{% if after.more > 90 %}{{ 'x' | dat }}{% endif %}", /undefined filter: dat/],
    ['Тема\n---\n{{ after.when', /not closed, line:3/],
    ['Тема\n---\n{% if after.when %}Ждём', /not closed, line:3/],
    ['Тема\n---\n{{ client.name }}', /nothing is left/],
    ['{{ after.staff }}\n---\nЖдём', /nothing is left/],
    ['Тема\n---\n{% if %}', /.+/],
    ['Тема без черты', /subject line, a line of ---/],
    ["Тема\n---\n{{ 'now' | date: '%H' }}", /undefined filter: date/],
    ["Тема\n---\n{{ after.staff | in_case: 'vocative' }}", /in_case takes one of genitive/],
    ["Тема\n---\n{% assign name = 'constructor' %}{{ client[name] }}", /undefined variable/],
    ['Тема\n---\n{% for i in (1..1000000) %}{{ i }}{% endfor %}', /memory alloc limit/],
    // 0.7 s of nothing else, where it was allowed.
    [
      'Тема\n---\nРаз{% for i in (1..300) %}{% for j in (1..300) %}{% endfor %}{% endfor %}',
      /(memory alloc|render) limit/,
    ],
    // In branches that no sample takes.
    ["Тема\n---\nРаз{% if after.more > 90 %}{% render '_nope' %}{% endif %}", /_nope/],
    [
      "Тема\n---\nРаз\n{% if after.more > 90 %}{{ after.more | plural: 'a' }}{% endif %}",
      /plural takes 3 forms, not 1, line:4/,
    ],
    [
      "Тема\n---\nРаз{% if after.more > 90 %}{{ after.staff | in_case: 'vocative' }}{% endif %}",
      /one of genitive/,
    ],
    // Without end for all practical purposes, and without any memory: five services, fourteen times over.
    [`Тема\n---\n${LOOP.repeat(14)}${'{% endfor %}'.repeat(14)}`, /render limit/],
    ["Тема\n---\n{% render '/etc/passwd' %}", /.+/],
    [`Тема\n---\n${'я'.repeat(30_000)}`, /limit/],
  ];
  for (const [source, why] of cases) {
    await assert.rejects(setText(deps(), BOOKED, source), error => {
      assert.match(error instanceof Error ? error.message : '', /^the text ru\/booked is refused: /);
      assert.match(error instanceof Error ? error.message : '', why, source.slice(0, 60));
      return true;
    });
  }
  assert.deepEqual(
    (await listTexts(deps(), 1)).filter(({ own }) => own),
    [],
  );
  await assert.rejects(setText(deps(), { ...BOOKED, companyId: 9 }, OWN), /9/);
});

test('what a text may well name is no fault: parts of lists, what it sets itself, what is computed', async () => {
  const source = `Тема
---
Услуг: {{ after.services.size }}{% for one in after.services %}{{ one }}{{ forloop.index }}{% endfor %}
{% assign hour = after['time'] %}{{ hour.size }}{% if after.services.size > 0 %}{{ after.services.first }}{% endif %}
{% capture part %}{{ client.name.size }}{% endcapture %}{{ part }}{% assign name = 'date' %}{{ after[name] }}`;
  const [full] = (await setText(deps(), BOOKED, source)).samples;
  assert.match(full?.text ?? '', /^Услуг: 5A1B × 22C/);
  await resetText(deps(), BOOKED);
});

test('a text that broke since it was kept gives way to ours, and is found', async () => {
  await pipeline.pool.query(
    `INSERT INTO templates (company_id, locale, kind, source) VALUES (2, 'ru', 'booked', $1)`,
    ['Тема\n---\n{{ after.gone }}'],
  );
  assert.match((await said(2, 14)) ?? '', /вы записаны/);
  const broken = await brokenTexts(pipeline.pool, texts);
  assert.deepEqual(
    broken.map(({ companyId, locale, kind }) => [companyId, locale, kind]),
    [[2, 'ru', 'booked']],
  );
  assert.match(broken[0]?.fault ?? '', /after\.gone/);
});

test('every text that comes with us renders its samples in both languages', () => {
  const tried = tryTexts(texts, textsOf(texts, 0, []));
  assert.equal(tried.length, 2 * TEXT_KINDS.length);
  for (const { samples, fault } of tried) {
    assert.equal(fault, undefined);
    assert.ok(samples.length >= 2);
    for (const { subject, text } of samples) assert.ok(subject !== '' && text !== '');
  }
});

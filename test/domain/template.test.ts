import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEngine } from '../../src/domain/template.ts';

const engines = { ru: createEngine('ru', {}), en: createEngine('en', {}) };

function written(locale: 'ru' | 'en', text: string, scope: object = {}): string {
  return engines[locale].compile(`s\n---\n${text}`).render(scope).body.trim();
}

test('a word is in the plural that its number wants, a fraction’s too', () => {
  const ru = (n: number) => written('ru', "{{ n }} {{ n | plural: 'услуга', 'услуги', 'услуг' }}", { n });
  const en = (n: number) => written('en', "{{ n }} {{ n | plural: 'service', 'services' }}", { n });
  assert.deepEqual([0, 1, 2, 5, 11, 14, 21, 22, 111, 2.5].map(ru), [
    ...['0 услуг', '1 услуга', '2 услуги', '5 услуг', '11 услуг', '14 услуг', '21 услуга', '22 услуги'],
    ...['111 услуг', '2.5 услуги'],
  ]);
  assert.deepEqual([0, 1, 2, 21].map(en), ['0 services', '1 service', '2 services', '21 services']);
});

test('a name is put into its case: with a surname, with a hyphen, in capitals; what is not known stays', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['Ольга', 'Ольге'],
    ['Пётр', 'Петру'],
    ['ОЛЬГА', 'ОЛЬГЕ'],
    ['Анна-Мария', 'Анне-Марии'],
    ['Ольга Петрова', 'Ольге Петровой'],
    ['Иван Черных', 'Ивану Черных'],
    ['Любовь', 'Любовь'],
    ['Женя', 'Женя'],
    ['Мастер без имени', 'Мастер без имени'],
    ['Olga', 'Olga'],
    ['Ольга2', 'Ольга2'],
    ['', ''],
  ];
  for (const [name, dative] of cases) {
    assert.equal(written('ru', "{{ name | in_case: 'dative' }}", { name }), dative);
  }
  assert.equal(written('en', "{{ name | in_case: 'dative' }}", { name: 'Ольга' }), 'Ольга');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Act,
  judgeAction,
  readPress,
  readWord,
  type Standing,
  wishOf,
  writePress,
} from '../../src/domain/answer.ts';
import type { Facts } from '../../src/domain/notice.ts';

const ACTS: readonly Act[] = ['confirm', 'ask_cancel', 'cancel', 'keep'];

test('a press is read as it was written, within the 64 bytes that Telegram carries', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ACTS),
      fc.integer({ min: 1, max: 2_147_483_647 }),
      fc.uuid({ version: 7 }),
      (act, companyId, messageId) => {
        const data = writePress({ act, companyId, messageId });
        assert.deepEqual(readPress(data), { act, companyId, messageId });
        assert.ok(Buffer.byteLength(data) <= 64);
      },
    ),
  );
});

test('whatever else comes as a press is none', () => {
  fc.assert(fc.property(fc.string(), data => assert.equal(readPress(data), undefined)));
  for (const data of [
    'c.0.019ab3c2-0000-7000-8000-000000000000',
    'q.1.019ab3c2-0000-7000-8000-000000000000',
  ]) {
    assert.equal(readPress(data), undefined);
  }
});

test('a word counts alone, in any case and with signs around it, and not within a sentence', () => {
  for (const text of ['стоп', 'СТОП.', ' /stop ', 'Стоп!!', 'Отписаться', 'не  пишите', '«Стоп»']) {
    assert.equal(readWord(text), 'stop', text);
  }
  for (const text of ['возобновить', '/resume', 'Подписаться!']) assert.equal(readWord(text), 'resume', text);
  for (const text of ['стоп-кран не нажимать', 'не стоп', '', '!', '+1'])
    assert.equal(readWord(text), undefined, text);
});

const REFUSALS = [
  ...['СТОП, не пишите мне', 'Стоп. Хватит', 'стоп\nстоп', 'СТОП!!! Достали', 'стоп —  и всё', '*STOP*'],
  ...['stop all', 'STOPALL', 'Stop, please', 'End', 'quit', 'Quit!', 'UNSUBSCRIBE me', '/stop@north_bot'],
  ...[
    'отписаться от рассылки',
    'Отписать',
    'отпишите меня',
    'Не писать',
    'не писать!',
    'Не пишите мне больше',
  ],
  ...['Пожалуйста, не пишите мне', 'больше не пишите', 'Please stop', 'СТОП, не пишите мне больше никогда'],
];
const NO_REFUSALS = {
  cancel: ['отмена', 'Отмена.', 'отменить', 'отмените', 'cancel', 'не приду'],
  no: ['нет'],
  really: ['да, отменить'],
  confirm: ['да', '+'],
  resume: ['subscribe', 'подписаться'],
  none: [
    ...[
      'отмена записи, я заболела',
      'отменить визит',
      'cancel all',
      'да, стоп',
      'я не пишу стоп',
      'стопа болит',
    ],
    ...['end of the week, please', 'stopped by today', 'не пишется'],
    ...['Стоп, а я точно записана на завтра к Ольге, а не на четверг?', 'отписался вам вчера'],
  ],
} as const;

test('a short message that begins with a word for stop is a stop; one that calls off a visit never is', () => {
  for (const text of REFUSALS) assert.equal(readWord(text), 'stop', text);
  for (const [word, texts] of Object.entries(NO_REFUSALS)) {
    for (const text of texts) assert.equal(readWord(text), word === 'none' ? undefined : word, text);
  }
});

test('what a word wishes depends on whether it was asked whether to cancel', () => {
  const wishes = (text: string) => {
    const word = readWord(text);
    assert.ok(word !== undefined && word !== 'stop' && word !== 'resume', text);
    return [wishOf(word, false), wishOf(word, true)];
  };
  for (const text of ['да', 'Yes', '+', 'подтверждаю'])
    assert.deepEqual(wishes(text), ['confirm', 'ask_again']);
  for (const text of ['приду', 'Нет, приду!']) assert.deepEqual(wishes(text), ['confirm', 'confirm']);
  for (const text of ['нет', 'No.']) assert.deepEqual(wishes(text), ['ask_cancel', 'keep']);
  for (const text of ['отмена', 'не приду']) assert.deepEqual(wishes(text), ['ask_cancel', 'ask_cancel']);
  for (const text of ['Да, отменить', 'yes cancel']) assert.deepEqual(wishes(text), ['ask_cancel', 'cancel']);
  assert.deepEqual(wishes('перенести'), ['move', 'move']);
});

const FACTS: Facts = {
  status: 'booked',
  startsLocal: '2026-11-24T14:30:00',
  staffId: 5,
  staffName: 'Ольга',
  services: [],
};
const STANDING = { startsLocal: FACTS.startsLocal, startsAt: 1000, attendance: 0 } as const;
const judge = (kind: 'confirm' | 'cancel', standing: Standing, now = 999) =>
  judgeAction({ kind, answered: FACTS, standing, now });

test('what is asked for is done while the visit stands as it was read, and only then', () => {
  for (const kind of ['confirm', 'cancel'] as const) {
    assert.deepEqual(judge(kind, STANDING), { do: 'act' });
    assert.deepEqual(judge(kind, STANDING, 1000), { do: 'refuse', because: 'over' });
    const moved = { ...STANDING, startsLocal: '2026-11-24T15:00:00' };
    assert.deepEqual(judge(kind, moved), { do: 'refuse', because: 'moved' });
  }
});

test('what is so already is done: by an earlier try, or by the salon', () => {
  assert.deepEqual(judge('confirm', { ...STANDING, attendance: 2 }), { do: 'done' });
  assert.deepEqual(judge('confirm', { ...STANDING, attendance: 1 }), { do: 'done' });
  assert.deepEqual(judge('cancel', null), { do: 'done' });
  assert.deepEqual(judge('cancel', { ...STANDING, attendance: -1 }), { do: 'done' });
  assert.deepEqual(judge('cancel', { ...STANDING, attendance: 2 }), { do: 'act' });
});

test('what is gone cannot be confirmed, and who came cannot cancel', () => {
  assert.deepEqual(judge('confirm', null), { do: 'refuse', because: 'gone' });
  assert.deepEqual(judge('confirm', { ...STANDING, attendance: -1 }), { do: 'refuse', because: 'gone' });
  assert.deepEqual(judge('cancel', { ...STANDING, attendance: 1 }), { do: 'refuse', because: 'over' });
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { SpokenChange } from '../../src/domain/batch.ts';
import type { Service } from '../../src/domain/booking.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { LOCALES } from '../../src/domain/locale.ts';
import type { Facts, Notice } from '../../src/domain/notice.ts';
import { createTexts, TEXT_KINDS, type TextInput, type TextKind } from '../../src/domain/text.ts';
import { loadTemplates } from '../../src/templates.ts';
import { HOSTILE_TEXTS } from '../support/hostile-text.ts';

const templates = loadTemplates();
const texts = createTexts(templates);

const manicure: Service = { id: 11, title: 'Маникюр', amount: 1 };
const design: Service = { id: 12, title: 'Дизайн', amount: 2 };
const heard: Facts = {
  status: 'booked',
  startsLocal: '2026-11-24T14:30:00',
  staffId: 7,
  staffName: 'Ольга',
  services: [manicure],
};
const moved: Facts = { ...heard, startsLocal: '2026-11-25T09:05:00' };
const company = { title: 'Студия Север', address: 'ул. Садовая, 5', phone: '+7 495 000-00-00' };

function input(notice: Notice | null, changes: Partial<TextInput> = {}): TextInput {
  return { notice, visit: null, client: { name: 'Анна' }, company, ...changes };
}

const NOTICES: Readonly<Record<TextKind, Notice | null>> = {
  booked: { kind: 'booked', before: null, after: heard },
  rescheduled: { kind: 'rescheduled', before: heard, after: moved },
  staff_changed: {
    kind: 'staff_changed',
    before: heard,
    after: { ...heard, staffId: 8, staffName: 'Ирина' },
  },
  services_changed: {
    kind: 'services_changed',
    before: heard,
    after: { ...heard, services: [manicure, design] },
  },
  changed: {
    kind: 'changed',
    before: heard,
    after: { ...moved, staffId: 8, staffName: 'Ирина', services: [design] },
  },
  cancelled: { kind: 'cancelled', before: heard, after: { ...moved, status: 'cancelled' } },
  restored: { kind: 'restored', before: { ...heard, status: 'cancelled' }, after: moved },
  reminder: null,
  review: null,
  no_show: null,
  rebook: null,
  staff: { kind: 'rescheduled', before: heard, after: moved },
  administrator: { kind: 'booked', before: null, after: heard },
  digest: null,
  batch: null,
  test: null,
};

const digest: Digest = {
  ...{ day: '2026-11-25', visits: 14, unconfirmed: 1, booked: 5, moved: 1, cancelled: 2 },
  unreached: [
    { startsLocal: '2026-11-25T09:05:00', staffName: 'Ольга' },
    { startsLocal: '2026-11-25T18:00:00', staffName: '' },
  ],
};

const changes: readonly SpokenChange[] = [
  {
    recordId: 1,
    kind: 'booked',
    before: null,
    after: heard,
    client: { name: 'Анна', phone: '+79160000001' },
  },
  {
    ...{ recordId: 2, kind: 'changed', before: heard, client: { name: '', phone: '' } },
    after: { ...moved, staffId: 8, staffName: 'Ирина' },
  },
  {
    ...{ recordId: 3, kind: 'cancelled', before: heard, client: { name: 'Вера', phone: '' } },
    after: { ...moved, status: 'cancelled' },
  },
];

/** What a planned message speaks of. */
const visitOf = (kind: TextKind) =>
  NOTICES[kind] === null && !['test', 'digest', 'batch'].includes(kind) ? heard : null;
const digestOf = (kind: TextKind) => (kind === 'digest' ? digest : null);

const EXPECTED: Readonly<Record<'ru' | 'en', Readonly<Record<TextKind, readonly [string, string]>>>> = {
  ru: {
    booked: [
      'Вы записаны: 24 ноября, вторник, 14:30',
      `Анна, вы записаны. Ждём вас!

Когда: 24 ноября, вторник, 14:30
Услуга: Маникюр
Мастер: Ольга
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    rescheduled: [
      'Запись перенесена: 25 ноября, среда, 09:05',
      `Анна, ваша запись перенесена.

Было: 24 ноября, вторник, 14:30
Стало: 25 ноября, среда, 09:05
Услуга: Маникюр
Мастер: Ольга
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    staff_changed: [
      'Другой мастер: 24 ноября, вторник, 14:30',
      `Анна, в вашей записи сменился мастер.

Мастер: Ольга → Ирина
Когда: 24 ноября, вторник, 14:30
Услуга: Маникюр
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    services_changed: [
      'Изменились услуги: 24 ноября, вторник, 14:30',
      `Анна, в вашей записи изменились услуги.

Было: Маникюр
Стало: Маникюр, Дизайн × 2
Когда: 24 ноября, вторник, 14:30
Мастер: Ольга
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    changed: [
      'Изменения в записи: 25 ноября, среда, 09:05',
      `Анна, в вашей записи изменения.

Когда: 24 ноября, вторник, 14:30 → 25 ноября, среда, 09:05
Услуга: Маникюр → Дизайн × 2
Мастер: Ольга → Ирина
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    cancelled: [
      'Запись отменена: 24 ноября, вторник, 14:30',
      `Анна, ваша запись отменена.

Когда: 24 ноября, вторник, 14:30
Услуга: Маникюр
Где: Студия Север

Если это ошибка или нужно другое время, позвоните: +7 495 000-00-00`,
    ],
    restored: [
      'Запись снова действует: 25 ноября, среда, 09:05',
      `Анна, ваша запись снова действует. Ждём вас!

Когда: 25 ноября, среда, 09:05
Услуга: Маникюр
Мастер: Ольга
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    reminder: [
      'Напоминаем о записи: 24 ноября, вторник, 14:30',
      `Анна, напоминаем о вашей записи.

Когда: 24 ноября, вторник, 14:30
Услуга: Маникюр
Мастер: Ольга
Где: Студия Север, ул. Садовая, 5
Телефон: +7 495 000-00-00`,
    ],
    review: [
      'Спасибо, что были у нас',
      `Анна, спасибо, что были у нас 24 ноября, вторник.

Рассказать, как всё прошло, можно по телефону: +7 495 000-00-00

Студия Север`,
    ],
    no_show: [
      'Мы ждали вас 24 ноября, вторник',
      `Анна, мы ждали вас 24 ноября, вторник, 14:30, но вы не пришли. Надеемся, что всё в порядке.

Чтобы выбрать другое время, позвоните: +7 495 000-00-00

Студия Север`,
    ],
    rebook: [
      'Пора записаться снова?',
      `Анна, в последний раз вы были у нас 24 ноября, вторник. Будем рады видеть вас снова.

Записаться: +7 495 000-00-00

Реклама. Студия Север. Чтобы не получать таких сообщений, скажите об этом администратору.`,
    ],
    staff: [
      'Запись перенесена: 25 ноября, среда, 09:05',
      `Запись к вам перенесена.

Клиент: Анна
Было: 24 ноября, вторник, 14:30
Стало: 25 ноября, среда, 09:05
Услуга: Маникюр`,
    ],
    administrator: [
      'Новая запись: 24 ноября, вторник, 14:30',
      `Новая запись.

Клиент: Анна
Когда: 24 ноября, вторник, 14:30
Услуга: Маникюр
Мастер: Ольга
Откуда: виджет на сайте`,
    ],
    digest: [
      '25 ноября, среда: 14 визитов',
      `25 ноября, среда: 14 визитов.
Не подтверждено: 1
За сутки: новых 5, перенесено 1, отменено 2

Сообщение не дошло, стоит позвонить: 2
09:05, Ольга
18:00

Студия Север`,
    ],
    batch: [
      'Изменения в записях: 3',
      `Изменения в записях: 3

Новая: 24 ноября, вторник, 14:30, Анна, +79160000001, мастер Ольга
Изменена: 24 ноября, вторник, 14:30 → 25 ноября, среда, 09:05, мастер Ольга → Ирина
Отменена: 24 ноября, вторник, 14:30, Вера, мастер Ольга

Студия Север`,
    ],
    test: [
      'Проверка связи',
      `Проверка связи: это сообщение отправил «Отклик». Если вы его читаете, всё настроено верно.

Студия Север`,
    ],
  },
  en: {
    booked: [
      'You are booked: Tuesday, November 24, 2:30 PM',
      `Анна, you are booked. See you soon!

When: Tuesday, November 24, 2:30 PM
Service: Маникюр
With: Ольга
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    rescheduled: [
      'Your booking has moved: Wednesday, November 25, 9:05 AM',
      `Анна, your booking has moved.

Was: Tuesday, November 24, 2:30 PM
Now: Wednesday, November 25, 9:05 AM
Service: Маникюр
With: Ольга
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    staff_changed: [
      'A change of staff: Tuesday, November 24, 2:30 PM',
      `Анна, you will be seen by someone else.

With: Ольга → Ирина
When: Tuesday, November 24, 2:30 PM
Service: Маникюр
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    services_changed: [
      'Your services have changed: Tuesday, November 24, 2:30 PM',
      `Анна, the services in your booking have changed.

Was: Маникюр
Now: Маникюр, Дизайн × 2
When: Tuesday, November 24, 2:30 PM
With: Ольга
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    changed: [
      'Your booking has changed: Wednesday, November 25, 9:05 AM',
      `Анна, your booking has changed.

When: Tuesday, November 24, 2:30 PM → Wednesday, November 25, 9:05 AM
Service: Маникюр → Дизайн × 2
With: Ольга → Ирина
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    cancelled: [
      'Your booking is cancelled: Tuesday, November 24, 2:30 PM',
      `Анна, your booking is cancelled.

When: Tuesday, November 24, 2:30 PM
Service: Маникюр
Where: Студия Север

If this is a mistake or you need another time, call +7 495 000-00-00`,
    ],
    restored: [
      'Your booking stands again: Wednesday, November 25, 9:05 AM',
      `Анна, your booking stands again. See you soon!

When: Wednesday, November 25, 9:05 AM
Service: Маникюр
With: Ольга
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    reminder: [
      'Your visit: Tuesday, November 24, 2:30 PM',
      `Анна, this is a reminder of your visit.

When: Tuesday, November 24, 2:30 PM
Service: Маникюр
With: Ольга
Where: Студия Север, ул. Садовая, 5
Phone: +7 495 000-00-00`,
    ],
    review: [
      'Thank you for coming',
      `Анна, thank you for coming on Tuesday, November 24.

To tell us how it was, call +7 495 000-00-00

Студия Север`,
    ],
    no_show: [
      'We expected you on Tuesday, November 24',
      `Анна, we expected you on Tuesday, November 24, 2:30 PM, and you did not come. We hope that all is well.

For another time, call +7 495 000-00-00

Студия Север`,
    ],
    rebook: [
      'Time to book again?',
      `Анна, your last visit was on Tuesday, November 24. We would be glad to see you again.

To book, call +7 495 000-00-00

Advertising. Студия Север. To get no more of these, tell the administrator.`,
    ],
    staff: [
      'Visit moved: Wednesday, November 25, 9:05 AM',
      `A visit of yours was moved.

Client: Анна
Was: Tuesday, November 24, 2:30 PM
Now: Wednesday, November 25, 9:05 AM
Service: Маникюр`,
    ],
    administrator: [
      'New visit: Tuesday, November 24, 2:30 PM',
      `A new visit.

Client: Анна
When: Tuesday, November 24, 2:30 PM
Service: Маникюр
With: Ольга
Made in: the website’s form`,
    ],
    digest: [
      'Wednesday, November 25: 14 visits',
      `Wednesday, November 25: 14 visits.
Not confirmed: 1
Within a day: new 5, moved 1, cancelled 2

Not reached, better call: 2
9:05 AM, Ольга
6:00 PM

Студия Север`,
    ],
    batch: [
      'Changes: 3',
      `Changes: 3

New: Tuesday, November 24, 2:30 PM, Анна, +79160000001, with Ольга
Changed: Tuesday, November 24, 2:30 PM → Wednesday, November 25, 9:05 AM, with Ольга → Ирина
Cancelled: Tuesday, November 24, 2:30 PM, Вера, with Ольга

Студия Север`,
    ],
    test: [
      'A test',
      `A test: this message was sent by Otklik. If you can read it, everything is set up right.

Студия Север`,
    ],
  },
};

for (const locale of LOCALES) {
  for (const kind of TEXT_KINDS) {
    test(`${locale}: the text of ${kind} is exactly this`, () => {
      const [subject, text] = EXPECTED[locale][kind];
      assert.deepEqual(
        texts.render(
          kind,
          locale,
          input(NOTICES[kind], { visit: visitOf(kind), digest: digestOf(kind), changes, origin: 'widget' }),
        ),
        {
          subject,
          text,
        },
      );
    });
  }
}

const ASKED: Notice = { kind: 'move_asked', before: null, after: heard };
const CONFIRMED: Notice = { kind: 'confirmed', before: heard, after: { ...heard, confirmed: true } };
const KINDS_OF_TEAM: readonly [Notice['kind'], ru: [staff: string, administrator: string]][] = [
  ['booked', ['К вам новая запись. | Когда: 24', 'Новая запись. | Когда: 24']],
  ['rescheduled', ['Запись к вам перенесена. | Было: 24', 'Запись перенесена. | Было: 24']],
  [
    'staff_changed',
    ['Запись передана другому мастеру: Ирина. | Когда: 24', 'В записи сменился мастер. | Когда: 24'],
  ],
  [
    'services_changed',
    ['В записи к вам изменились услуги. | Когда: 24', 'В записи изменились услуги. | Когда: 24'],
  ],
  ['changed', ['В записи к вам изменения. | Было: 24', 'В записи изменения. | Было: 24']],
  ['cancelled', ['Запись к вам отменена. | Когда: 24', 'Запись отменена, время свободно. | Когда: 24']],
  ['restored', ['Запись снова ваша. | Было: 24', 'Запись снова действует. | Было: 24']],
  ['confirmed', ['Клиент подтвердил запись. | Когда: 24', 'Клиент подтвердил запись. | Когда: 24']],
  [
    'move_asked',
    [
      'Клиент просит перенести запись к вам, сам не может. | Когда: 24',
      'Клиент просит перенести запись, сам не может. Свяжитесь с ним. | Когда: 24',
    ],
  ],
];

test('a master and an administrator read of every kind of change in their own words', () => {
  for (const [kind, expected] of KINDS_OF_TEAM) {
    for (const [index, audience] of (['staff', 'administrator'] as const).entries()) {
      const known = kind === 'confirmed' ? CONFIRMED : kind === 'move_asked' ? ASKED : NOTICES[kind];
      const passed = audience === 'staff' && kind === 'staff_changed' && known !== null;
      const notice = passed ? { ...known, after: { ...known.after, status: 'passed' as const } } : known;
      const { text } = texts.render(audience, 'ru', input(notice, { client: { name: '' } }));
      const [first, second] = text.split('\n\n');
      const [line = ''] = (second ?? '').split('\n');
      assert.equal(`${first} | ${line.split(' ').slice(0, 2).join(' ')}`, expected[index]);
    }
  }
});

test('a client’s phone stands in a text to the team where it is given, and no text to clients knows it', () => {
  const client = { name: 'Анна', phone: '+79160000001' };
  const { text } = texts.render('administrator', 'ru', input(NOTICES.booked, { client }));
  assert.match(text, /Клиент: Анна, \+79160000001\n/);
  const own = 'x\n---\nТел. {{ client.phone }}';
  assert.throws(() => texts.samples('booked', 'ru', own), /undefined variable/);
  assert.equal(texts.samples('staff', 'ru', own).length, 18);
});

test('services beyond the fifth are counted, in the right plural', () => {
  const counted = (more: number, locale: 'ru' | 'en') => {
    const services = Array.from({ length: 5 + more }, (_, id) => ({ id, title: `У${id}`, amount: 1 }));
    const notice: Notice = { kind: 'booked', before: null, after: { ...heard, services } };
    return /У4(.*)$/m.exec(texts.render('booked', locale, input(notice)).text)?.[1];
  };
  assert.equal(counted(0, 'ru'), '');
  assert.equal(counted(1, 'ru'), ' и ещё 1 услуга');
  assert.equal(counted(2, 'ru'), ' и ещё 2 услуги');
  assert.equal(counted(5, 'ru'), ' и ещё 5 услуг');
  assert.equal(counted(11, 'ru'), ' и ещё 11 услуг');
  assert.equal(counted(21, 'ru'), ' и ещё 21 услуга');
  assert.equal(counted(22, 'ru'), ' и ещё 22 услуги');
  assert.equal(counted(1, 'en'), ' and 1 more service');
  assert.equal(counted(2, 'en'), ' and 2 more services');
  assert.equal(counted(21, 'en'), ' and 21 more services');
});

test('what is not known is left out, not left blank', () => {
  const bare: Notice = {
    kind: 'booked',
    before: null,
    after: { ...heard, staffId: null, staffName: '', services: [] },
  };
  const nothing = { client: { name: '' }, company: { title: '', address: '', phone: '' } };
  assert.equal(
    texts.render('booked', 'ru', input(bare, nothing)).text,
    'Вы записаны. Ждём вас!\n\nКогда: 24 ноября, вторник, 14:30',
  );
  const unnamed = { ...NOTICES.changed, before: { ...heard, staffName: '', services: [] } };
  const { text } = texts.render('changed', 'ru', input({ kind: 'changed', after: moved, ...unnamed }));
  assert.match(text, /^Услуга: Дизайн × 2\nМастер: Ирина$/m);
});

test('a name is used when it is one: not a phone, not a link, not a row of signs', () => {
  const greeted = (name: string) =>
    texts.render('booked', 'ru', input(NOTICES.booked, { client: { name } })).text.split('\n')[0];
  for (const name of ['Анна', 'Анна Мария', 'O’Brien', 'А.Белова', 'Анна 2', 'Ё', '李']) {
    assert.equal(greeted(name), `${name}, вы записаны. Ждём вас!`);
  }
  for (const name of [
    '',
    ' ',
    '+7 900 000-00-01',
    '89000000001',
    'Анна 89000000001',
    '---',
    '???',
    '\u200b',
    'Приз на http://prize.test',
    'www.prize',
    'prize.com',
    'подарок.рф',
    't.me/prize',
    '@prize',
    'tg:prize',
  ]) {
    assert.equal(greeted(name), 'Вы записаны. Ждём вас!', name);
  }
});

test('the year is written only where two years are compared', () => {
  const across: Notice = {
    kind: 'rescheduled',
    before: { ...heard, startsLocal: '2026-12-31T18:00:00' },
    after: { ...heard, startsLocal: '2027-01-02T00:00:00' },
  };
  assert.match(
    texts.render('rescheduled', 'ru', input(across)).text,
    /^Было: 31 декабря 2026, четверг, 18:00\nСтало: 2 января 2027, суббота, 00:00$/m,
  );
  assert.match(
    texts.render('rescheduled', 'en', input(across)).text,
    /^Was: Thursday, December 31, 2026, 6:00 PM\nNow: Saturday, January 2, 2027, 12:00 AM$/m,
  );
});

test('the server’s zone moves no wall clock', () => {
  const script = `
    const { createTexts } = await import('${new URL('../../src/domain/text.ts', import.meta.url)}');
    const { loadTemplates } = await import('${new URL('../../src/templates.ts', import.meta.url)}');
    const facts = { status: 'booked', startsLocal: '2026-03-29T02:30:00', staffId: 1, staffName: '', services: [] };
    const place = { client: { name: '' }, company: { title: '', address: '', phone: '' } };
    const notice = { kind: 'booked', before: null, after: facts };
    console.log(createTexts(loadTemplates()).render('booked', 'ru', { notice, visit: null, ...place }).subject);`;
  // 2:30 on that night does not exist in Berlin.
  for (const TZ of ['UTC', 'Europe/Berlin', 'Asia/Kamchatka', 'America/Los_Angeles']) {
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { TZ, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
      encoding: 'utf8',
    });
    assert.equal(stdout, 'Вы записаны: 29 марта, воскресенье, 02:30\n', TZ);
  }
});

test('hostile values stay text: bounded, on their line, without invisible characters', () => {
  for (const value of HOSTILE_TEXTS) {
    for (const locale of LOCALES) {
      for (const kind of TEXT_KINDS) {
        const hostile = (facts: Facts): Facts => ({
          ...facts,
          staffName: value,
          services: Array.from({ length: 300 }, (_, id) => ({ id, title: value, amount: Number.NaN })),
        });
        const known = NOTICES[kind];
        const notice = known && {
          ...known,
          before: known.before && hostile(known.before),
          after: hostile(known.after),
        };
        const seen = visitOf(kind);
        const visit = seen && hostile(seen);
        const place = { title: value, address: value, phone: value };
        const { subject, text } = texts.render(kind, locale, {
          notice,
          visit,
          client: { name: value, phone: value },
          company: place,
          digest: digestOf(kind) && { ...digest, unreached: [{ ...hostile(heard) }] },
        });
        const what = `${locale} ${kind} ${value.slice(0, 30)}`;
        assert.ok(subject !== '' && subject.length <= 120 && !subject.includes('\n'), what);
        assert.ok(text !== '' && text.length <= 3000, what);
        assert.ok(!/\p{Cf}|[^\P{Cc}\n]|\p{Cs}/u.test(text + subject), what);
        assert.ok(text.split('\n').length <= 12, what);
        assert.ok(!text.includes('49'), what);
      }
    }
  }
});

test('markup in a name arrives as it was typed', () => {
  const greeted = (name: string) =>
    texts.render('booked', 'ru', input(NOTICES.booked, { client: { name } })).text;
  assert.match(greeted('{{ 7*7 }} Анна'), /^\{\{ 7\*7 \}\} Анна, вы/);
  assert.match(greeted('<b>Анна'), /^<b>Анна, вы/);
});

test('a broken template stops the start and is named', () => {
  const broken = (name: string, source: string | undefined) => {
    const { [name]: _, ...rest } = templates;
    return () => createTexts(source === undefined ? rest : { ...rest, [name]: source });
  };
  const cases: ReadonlyArray<readonly [string, string | undefined, RegExp]> = [
    ['ru/booked', undefined, /ru\/booked is broken: the file is missing/],
    ['ru/booked', 'Тема\nи сразу текст', /ru\/booked is broken: it needs a subject line/],
    ['en/test', 'A test\n---\n{% if %}', /en\/test is broken/],
    ['en/changed', 'A\n---\n{{ after.when', /en\/changed is broken/],
    ['ru/restored', 'А\n---\n{{ after.wehn }}', /ru\/restored is broken: undefined variable: after.wehn/],
    ['ru/restored', '{{ visit }}\n---\nА', /ru\/restored is broken: undefined variable: visit/],
    ['ru/cancelled', 'А\n---\n{{ "now" | date: "%Y" }}', /ru\/cancelled is broken: undefined filter: date/],
    ['ru/cancelled', 'А\n---\n{{ before.more | plural: "услуга", "услуги" }}', /plural takes 3 forms, not 2/],
    ['ru/booked', 'А\n---\n{% include "/etc/passwd" %}', /ru\/booked is broken: ENOENT/],
    ['ru/booked', 'А\n---\n{% render "../en/_visit" %}', /ru\/booked is broken: ENOENT/],
    ['ru/booked', 'А\n---\n{{ client.constructor }}', /ru\/booked is broken: undefined variable/],
    [
      'ru/booked',
      'А\n---\n{% for i in (1..9000000) %}x{% endfor %}',
      /ru\/booked is broken: memory alloc limit/,
    ],
    ['ru/booked', `А\n---\n${'x'.repeat(30_000)}`, /ru\/booked is broken: parse length limit/],
    ['ru/_visit', '{{ visit.wehn }}', /is broken: undefined variable: visit.wehn/],
  ];
  for (const [name, source, message] of cases) assert.throws(broken(name, source), { message }, source);
});

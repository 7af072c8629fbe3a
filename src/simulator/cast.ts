/** The invented people, services and goods of a fake salon. Nobody here exists; the phone ranges are unassigned. */
import type { Random } from './random.ts';

export type Brand = 'yclients' | 'altegio';

export type Client = {
  readonly id: number;
  readonly name: string;
  readonly surname: string;
  readonly phone: string;
  readonly email: string;
  /** Wants no messages; only the client's own webhook says so. */
  readonly refuses: boolean;
};
export type StaffMember = { readonly id: number; readonly name: string; readonly specialization: string };
export type OfferedService = {
  readonly id: number;
  readonly title: string;
  readonly cost: number;
  readonly durationSeconds: number;
};
export type Good = { readonly id: number; readonly title: string; readonly cost: number };

export type Cast = {
  readonly title: string;
  readonly clients: readonly Client[];
  readonly staff: readonly StaffMember[];
  readonly services: readonly OfferedService[];
  readonly goods: readonly Good[];
};

type Names = {
  readonly title: string;
  readonly first: readonly string[];
  readonly last: readonly string[];
  readonly staff: readonly (readonly [string, string])[];
  readonly services: readonly (readonly [string, number, number])[];
  readonly goods: readonly (readonly [string, number])[];
  readonly phonePrefix: string;
};

const RUSSIAN: Names = {
  title: 'Студия «Полынь»',
  first: ['Вера', 'Инга', 'Майя', 'Тихон', 'Юлиан', 'Зоя', 'Кира', 'Лев', 'Ася', 'Демид', 'Рада', 'Глеб'],
  last: ['Полынко', 'Сенокос', 'Тальник', 'Вересень', 'Зимородок', 'Ковыль', 'Перелесок', 'Осока'],
  staff: [
    ['Нина', 'Парикмахер'],
    ['Олег', 'Барбер'],
    ['Тая', 'Мастер маникюра'],
    ['Роман', 'Колорист'],
    ['Элла', 'Бровист'],
  ],
  services: [
    ['Стрижка', 1800, 3600],
    ['Стрижка детская', 1200, 1800],
    ['Окрашивание', 5400, 7200],
    ['Маникюр', 1600, 5400],
    ['Укладка', 1500, 2700],
    ['Брови', 900, 1800],
    ['Борода', 1100, 1500],
  ],
  goods: [
    ['Шампунь «Ромашка»', 890],
    ['Масло для бороды', 640],
    ['Крем для рук', 420],
  ],
  phonePrefix: '+7900000',
};

const INTERNATIONAL: Names = {
  title: 'Juniper Row',
  first: ['Ada', 'Milo', 'Ines', 'Oskar', 'Lena', 'Tomas', 'Nora', 'Ivo', 'Mara', 'Pavle', 'Zora', 'Emil'],
  last: ['Fernhill', 'Brook', 'Lindqvist', 'Oakes', 'Marlowe', 'Stein', 'Vale', 'Hollis'],
  staff: [
    ['Petra', 'Hairdresser'],
    ['Bruno', 'Barber'],
    ['Sofia', 'Nail artist'],
    ['Anton', 'Colourist'],
    ['Greta', 'Brow artist'],
  ],
  services: [
    ['Haircut', 35, 3600],
    ['Kids haircut', 22, 1800],
    ['Colouring', 95, 7200],
    ['Manicure', 30, 5400],
    ['Styling', 28, 2700],
    ['Brows', 15, 1800],
    ['Beard trim', 18, 1500],
  ],
  goods: [
    ['Camomile shampoo', 14],
    ['Beard oil', 11],
    ['Hand cream', 8],
  ],
  phonePrefix: '+44770090',
};

export function salonTitle(brand: Brand): string {
  return namesOf(brand).title;
}

function namesOf(brand: Brand): Names {
  return brand === 'yclients' ? RUSSIAN : INTERNATIONAL;
}

export type CastSizes = { readonly clients: number; readonly staff: number };

export function castOf(brand: Brand, random: Random, sizes: CastSizes): Cast {
  const names = namesOf(brand);
  const firstClientId = random.integer(100_000_000, 180_000_000);
  const firstStaffId = random.integer(2_000_000, 2_900_000);
  const firstServiceId = random.integer(5_000_000, 9_000_000);
  return {
    title: names.title,
    clients: Array.from({ length: sizes.clients }, (_, index) =>
      clientOf(names, random, firstClientId, index),
    ),
    staff: Array.from({ length: sizes.staff }, (_, index) => staffOf(names, firstStaffId, index)),
    services: names.services.map(([title, cost, durationSeconds], index) => ({
      id: firstServiceId + index * 13,
      title,
      cost,
      durationSeconds,
    })),
    goods: names.goods.map(([title, cost], index) => ({ id: 23_000_000 + index * 7, title, cost })),
  };
}

function clientOf(names: Names, random: Random, firstId: number, index: number): Client {
  return {
    id: firstId + index * 17,
    name: random.pick(names.first),
    surname: random.chance(0.6) ? random.pick(names.last) : '',
    phone: `${names.phonePrefix}${String(index + 10_000).slice(1)}`,
    email: random.chance(0.3) ? `guest${index}@example.test` : '',
    refuses: random.chance(0.1),
  };
}

function staffOf(names: Names, firstId: number, index: number): StaffMember {
  const [name, specialization] = names.staff[index % names.staff.length] ?? ['', ''];
  const round = Math.floor(index / names.staff.length);
  return { id: firstId + index * 11, name: round === 0 ? name : `${name} ${round + 1}`, specialization };
}

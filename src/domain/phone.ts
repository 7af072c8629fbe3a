/** Phone numbers: the platform sends them with and without a plus, and people write 8 for Russia and Kazakhstan. */
import { parsePhoneNumberFromString } from 'libphonenumber-js/min';
import { memo } from './memo.ts';

/** A mobile number as people in Russia write it. No country's code is 89; 84… may be Vietnam, so no other is guessed. */
const DOMESTIC = /^89\d{9}$/;

/** E.164 where the text can be read as an international number, else the text as it came. */
export const normalisePhone = memo((text: string): string => {
  const digits = text.replace(/[^\d+]/g, '');
  const number = DOMESTIC.test(digits)
    ? parsePhoneNumberFromString(digits, 'RU')
    : parsePhoneNumberFromString(digits.startsWith('+') ? digits : `+${digits}`);
  return number?.isPossible() ? number.number : text;
});

/**
 * As somebody here typed it who looks for a person: eight before any Russian number is seven, and a mobile number without
 * either lacks it.
 */
export function typedPhone(text: string): string {
  const digits = text.replace(/[^\d+]/g, '');
  // With a plus it is said which country: +84 is Vietnam. No country's code is 89.
  const national = /^(?:8\d{10}|\+89\d{9}|9\d{9})$/.test(digits) ? digits.slice(-10) : undefined;
  return normalisePhone(national === undefined ? text : `7${national}`);
}

/** +7••••••••67: enough to know one's own, too little to call. */
export function maskPhone(phone: string): string {
  const digits = phone.replace(/\D/g, '');
  if (digits === '') return '';
  const plus = phone.trim().startsWith('+') ? '+' : '';
  const shown = digits.length < 8 ? 0 : Math.max(digits.length - 10, 1);
  const end = shown === 0 ? '' : digits.slice(-2);
  return `${plus}${digits.slice(0, shown)}${'•'.repeat(digits.length - shown - end.length)}${end}`;
}

/**
 * A regular expression, the same in JavaScript and PostgreSQL, that finds the number however it is written: with or
 * without the country, with spaces, brackets and hyphens. Undefined where there are too few digits to be a number.
 */
export function phonePattern(text: string): string | undefined {
  const national = nationalDigits(text);
  return national === undefined ? undefined : [...national].join('[^0-9]{0,3}');
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/**
 * The same of what base64 makes of the number's digits, in either alphabet, at whichever of the three places of a group they
 * begin. Letters that say nothing of the number but that it is one are left out before it; of the last, which it shares
 * with whatever follows, each that it may be is taken. Case tells: `~`, not `~*`.
 */
export function phoneInBase64(text: string): string | undefined {
  const national = nationalDigits(text);
  if (national === undefined) return undefined;
  return [0, 1, 2].map(before => base64At(before, national)).join('|');
}

function base64At(before: number, digits: string): string {
  const coded = Buffer.from(`${' '.repeat(before)}${digits}`).toString('base64');
  const bits = (before + digits.length) * 8;
  const sure = coded.slice(Math.ceil((before * 8) / 6), Math.floor(bits / 6));
  const open = bits % 6;
  if (open === 0) return sure;
  const first = BASE64.indexOf(coded[Math.floor(bits / 6)] ?? '');
  const last = BASE64.slice(first, first + 2 ** (6 - open));
  return `${sure}[${last}${last.endsWith('/') ? '_-' : ''}]`;
}

function nationalDigits(text: string): string | undefined {
  const digits = normalisePhone(text).replace(/\D/g, '');
  const number = parsePhoneNumberFromString(`+${digits}`);
  const national = number?.isPossible() ? number.nationalNumber : digits;
  return national.length < 7 ? undefined : national;
}

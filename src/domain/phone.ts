/** Phone numbers: the platform sends them with and without a plus. */
import { parsePhoneNumberFromString } from 'libphonenumber-js/min';

/** E.164 where the text can be read as an international number, else the text as it came. */
export function normalisePhone(text: string): string {
  const digits = text.replace(/[^\d+]/g, '');
  const number = parsePhoneNumberFromString(digits.startsWith('+') ? digits : `+${digits}`);
  return number?.isPossible() ? number.number : text;
}

/** For eyes that need to recognise a number, not to know it: all but the last two digits hidden. */
export function maskPhone(text: string): string {
  return text.replace(/\d(?=(?:\D*\d){2})/g, '•');
}

/**
 * A regular expression, the same in JavaScript and PostgreSQL, that finds the number however it is written: with or
 * without the country, with spaces, brackets and hyphens. Undefined where there are too few digits to be a number.
 */
export function phonePattern(text: string): string | undefined {
  const digits = text.replace(/\D/g, '');
  const number = parsePhoneNumberFromString(`+${digits}`);
  const national = number?.isPossible() ? number.nationalNumber : digits;
  return national.length < 7 ? undefined : [...national].join('[^0-9]{0,3}');
}

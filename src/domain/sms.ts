/**
 * How a text is cut into SMS, for what is paid is the part. Latin letters take 7 bits (160 characters, 153 where there
 * are several parts), a single letter beyond that alphabet turns the whole text into UCS-2 (70, or 67): 3GPP TS 23.038
 * for the alphabet, TS 23.040, 9.2.3.24 for the six bytes by which parts find each other.
 */

/** 3GPP TS 23.038, 6.2.1: one septet each. */
const BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';
/** 6.2.1.1: an escape and one more. */
const EXTENDED = '^{}\\[~]|€';

const SEPTETS = new Map<string, number>([
  ...[...BASIC].map(letter => [letter, 1] as const),
  ...[...EXTENDED].map(letter => [letter, 2] as const),
]);

type Alphabet = { readonly single: number; readonly several: number; readonly more: string };
const GSM_7: Alphabet = { single: 160, several: 153, more: '...' };
const UCS_2: Alphabet = { single: 70, several: 67, more: '…' };

/** How many SMS a text is. */
export function smsParts(text: string): number {
  const { alphabet, sizes } = measure(text);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= alphabet.single) return 1;
  return filled(sizes, alphabet.several).parts;
}

/** The text, or as much of it as goes into so many SMS, with a sign that there was more. */
export function fitSms(text: string, maxParts: number): string {
  if (smsParts(text) <= maxParts) return text;
  const { alphabet, letters, sizes } = measure(text);
  const room = maxParts === 1 ? alphabet.single : alphabet.several;
  const more = measure(alphabet.more).sizes.reduce((sum, size) => sum + size, 0);
  const { taken } = filled(sizes, room, { parts: maxParts, keep: more });
  return `${letters.slice(0, taken).join('').trimEnd()}${alphabet.more}`;
}

function measure(text: string): { alphabet: Alphabet; letters: string[]; sizes: number[] } {
  const letters = [...text];
  const septets = letters.map(letter => SEPTETS.get(letter));
  if (septets.every(size => size !== undefined)) return { alphabet: GSM_7, letters, sizes: septets };
  return { alphabet: UCS_2, letters, sizes: letters.map(letter => letter.length) };
}

/** Fills parts of this room, no letter broken over two; `limit` says where to stop, and how much to keep free there. */
function filled(
  sizes: readonly number[],
  room: number,
  limit = { parts: Number.POSITIVE_INFINITY, keep: 0 },
): { parts: number; taken: number } {
  let parts = 1;
  let used = 0;
  for (const [index, size] of sizes.entries()) {
    const free = parts === limit.parts ? room - limit.keep : room;
    if (used + size <= free) used += size;
    else if (parts === limit.parts) return { parts, taken: index };
    else {
      parts += 1;
      used = size;
    }
  }
  return { parts, taken: sizes.length };
}

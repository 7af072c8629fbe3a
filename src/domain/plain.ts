/**
 * Plain text from untrusted text. What YClients hands over (names, titles, comments) is typed by strangers: here it
 * loses what could hide, reorder, escape or flood, and keeps the words.
 */

/** Zero-width, direction marks and soft hyphens (Cf); NUL, ESC and the like (Cc), but not white space. */
const INVISIBLE = /\p{Cf}|(?!\s)\p{Cc}/gu;
/** More than three marks on one letter is a trick, in no language a need. */
const STACKED_MARKS = /(\p{M}{3})\p{M}+/gu;

/** One line of at most `maxLength` characters; a longer one ends in an ellipsis. */
export function plainLine(value: string, maxLength: number): string {
  return clip(visible(value, maxLength).replace(/\s+/g, ' ').trim(), maxLength);
}

/** Lines kept, runs of blank lines made one, at most `maxLength` characters. */
export function plainText(value: string, maxLength: number): string {
  const lines = visible(value, maxLength)
    .replace(/\r\n?|[\u2028\u2029]/g, '\n')
    .split('\n')
    .map(line => line.replace(/\s+/g, ' ').trimEnd());
  return clip(
    lines
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim(),
    maxLength,
  );
}

/** The work is bounded before it begins: 16 units of input for each character that may come out. */
function visible(value: string, maxLength: number): string {
  const bounded = value.slice(0, maxLength * 16).toWellFormed();
  return bounded.replace(INVISIBLE, '').replace(STACKED_MARKS, '$1');
}

function clip(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const characters = [...text];
  if (characters.length <= maxLength) return text;
  return `${characters
    .slice(0, maxLength - 1)
    .join('')
    .trimEnd()}…`;
}

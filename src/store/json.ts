/** JSON for parameters of JSONB. */

/**
 * JSON text that JSONB takes whatever stands in its strings: without NUL, and with U+FFFD for half a character, as a filter
 * of a template or a provider may leave one. What cannot be kept would be tried for ever, and hold up all that is kept with it.
 */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, storable);
}

function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '') : value;
}

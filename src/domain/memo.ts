/**
 * Remembers what pure functions came to. A visit's hour is turned into a moment a dozen times on its way, the phone of
 * one client comes with each of their records, and Temporal and libphonenumber were a quarter of what an event costs.
 */

/** Of one function; it forgets all when full, which costs less than knowing what was used last. */
const LIMIT = 10_000;

/** In characters: the texts come from other sides, and ten thousand bodies are no memory to keep of one function. */
const LONGEST_KEY = 200;

/** `pure` depends on its arguments alone. */
export function memo<Arguments extends readonly (string | number)[], Result>(
  pure: (...given: Arguments) => Result,
): (...given: Arguments) => Result {
  const known = new Map<string, Result>();
  return (...given) => {
    const key = given.join(' ');
    if (key.length > LONGEST_KEY) return pure(...given);
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = pure(...given);
    if (known.size === LIMIT) known.clear();
    known.set(key, made);
    return made;
  };
}

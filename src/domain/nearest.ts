/** The word that was probably meant by one that is none of those there are. */

/** The nearest of these; undefined where none is near: at most two letters off, or a third of it. */
export function nearestOf(given: string, names: readonly string[]): string | undefined {
  const [nearest] = names
    .map(name => ({ name, far: distance(given.toLowerCase(), name.toLowerCase()) }))
    .sort((left, right) => left.far - right.far);
  if (nearest === undefined || nearest.far > Math.max(2, nearest.name.length / 3)) return undefined;
  return nearest.name;
}

/** Levenshtein's. */
export function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}

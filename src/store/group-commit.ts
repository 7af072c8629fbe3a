/**
 * Adaptive group commit: items that arrive while a flush is under way form the next one. There is no timer: a timer
 * of 2-5 ms doubled the median at low load and halved throughput. One watch gives
 * up what takes too long: a timer and a race for each item cost 2.5 µs.
 */

export type GroupCommit<Item, Result> = {
  /**
   * Resolves when the item's flush has committed; rejects when it failed, when it took too long (it may commit later all
   * the same), or at once when too much is waiting.
   */
  add(item: Item): Promise<Result>;
  /** Resolves when everything added so far has been flushed, well or not. */
  idle(): Promise<void>;
};

/** Too much is waiting already: refuse early rather than run out of memory. */
export class Overloaded extends Error {
  constructor(limit: number) {
    super(`${limit} items are waiting for the database already; try again later`);
    this.name = 'Overloaded';
  }
}

/** A flush took longer than items may wait. */
class Late extends Error {
  constructor(limitMs: number) {
    super(`timeout: not committed within ${limitMs} ms`);
    this.name = 'Late';
  }
}

const WATCH_MS = 250;

type Waiting<Item, Result> = {
  readonly item: Item;
  readonly since: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
};

export function createGroupCommit<Item, Result>(options: {
  /** Commits a batch and returns one result an item, in order. */
  readonly flush: (batch: readonly Item[]) => Promise<readonly Result[]>;
  readonly batchLimit: number;
  readonly waitingLimit: number;
  /** An item that waits longer is given up, at most 250 ms later. Unset: it waits as long as it takes. */
  readonly limitMs?: number;
}): GroupCommit<Item, Result> {
  const { flush, batchLimit, waitingLimit, limitMs = Number.POSITIVE_INFINITY } = options;
  let batch: readonly Waiting<Item, Result>[] = [];
  let waiting: Waiting<Item, Result>[] = [];
  let flushing = false;
  let idlers: (() => void)[] = [];

  /** Commits a batch; what it resolves to tells its items. */
  async function commit(items: readonly Waiting<Item, Result>[]): Promise<() => void> {
    try {
      const results = await flush(items.map(({ item }) => item));
      return () => {
        for (const [index, { resolve, reject }] of items.entries()) {
          if (index < results.length) resolve(results[index] as Result);
          else reject(new Error(`a flush of ${items.length} items gave ${results.length} results`));
        }
      };
    } catch (error) {
      return () => {
        for (const { reject } of items) reject(error);
      };
    }
  }

  function giveUpLate(): void {
    const last = performance.now() - limitMs;
    const late = [...batch, ...waiting].filter(({ since }) => since < last);
    if (late.length === 0) return;
    const error = new Late(limitMs);
    for (const { reject } of late) reject(error);
  }

  async function drain(): Promise<void> {
    flushing = true;
    const watch = setInterval(giveUpLate, WATCH_MS);
    while (waiting.length > 0) {
      batch = waiting.slice(0, batchLimit);
      waiting = waiting.slice(batchLimit);
      const tell = await commit(batch);
      // The next batch leaves first: the database works on it while whoever waited for this one is answered.
      if (waiting.length > 0) setImmediate(tell);
      else tell();
    }
    clearInterval(watch);
    flushing = false;
    for (const resolve of idlers) resolve();
    idlers = [];
  }

  return {
    add(item) {
      if (waiting.length >= waitingLimit) return Promise.reject(new Overloaded(waitingLimit));
      return new Promise((resolve, reject) => {
        waiting.push({ item, since: performance.now(), resolve, reject });
        if (!flushing) void drain();
      });
    },
    idle() {
      if (!flushing) return Promise.resolve();
      return new Promise(resolve => idlers.push(resolve));
    },
  };
}

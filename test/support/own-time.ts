/**
 * The time that this process has for itself: a stall, of the process or of the whole machine, counts as one tick. For what
 * must not take longer; that something does not come sooner is for the clock to say.
 */
const TICK_MS = 20;

export function startOwnClock(): { now(): number; stop(): void } {
  let ownMs = 0;
  const ticking = setInterval(() => {
    ownMs += TICK_MS;
  }, TICK_MS);
  return { now: () => ownMs, stop: () => clearInterval(ticking) };
}

export async function inOwnTime<T>(work: () => Promise<T>): Promise<{ result: T; ownMs: number }> {
  const clock = startOwnClock();
  try {
    const result = await work();
    return { result, ownMs: clock.now() };
  } finally {
    clock.stop();
  }
}

/** How far a long command is: one line that is written over, for whoever sits at a terminal. Elsewhere nothing is said. */

/** How often the line is written anew. */
const EVERY_MS = 200;
const CLEAR = '\r\u001b[K';

export type Terminal = {
  readonly isTTY?: boolean;
  write(text: string): unknown;
};

export type ProgressLine = {
  /** What was shown last stays until it is cleared, also where it came too soon after the one before. */
  show(text: string): void;
  /** Takes the line away: what comes next, a result or an error, begins on an empty one. */
  clear(): void;
};

export function progressLine(terminal: Terminal = process.stderr): ProgressLine {
  let waiting: string | undefined;
  let timer: NodeJS.Timeout | undefined;

  function write(): void {
    if (waiting === undefined) {
      timer = undefined;
      return;
    }
    terminal.write(`${CLEAR}${waiting}`);
    waiting = undefined;
    timer = setTimeout(write, EVERY_MS).unref();
  }

  return {
    show(text) {
      if (terminal.isTTY !== true) return;
      waiting = text;
      if (timer === undefined) write();
    },
    clear() {
      clearTimeout(timer);
      timer = undefined;
      waiting = undefined;
      if (terminal.isTTY === true) terminal.write(CLEAR);
    },
  };
}

/**
 * Who may send when, so that an account and each chat of it keep the rate that its provider allows. One slot follows
 * the other at a fixed distance; what comes soon is given out, the rest is told when to ask again, each one place
 * behind the one before, so that a backlog asks once or twice and not once a second each.
 */

/** A row of slots: an account's, or a chat's. Times are from now. */
export type Row = {
  /** When the next slot comes. */
  freeInMs: number;
  /** Until when nothing leaves: the provider asked for a pause. */
  readonly pausedInMs: number;
  /** Where the queue of those who were told to ask again ends. */
  queuedInMs: number;
};

/** `inMs`: when it may leave, or else when to ask again. */
export type Turn = { readonly granted: boolean; readonly inMs: number };

/** A slot is given out at most this long ahead: a pause that begins now meets hardly anybody who holds one. */
const AHEAD_MS = 1000;
/** Nobody is sent away for longer: the queue may have emptied, and a message may have become urgent or void. */
const LONGEST_WAIT_MS = 10 * 60_000;
/** 1,500 replies of a bot of Telegram, ten of one chat in WhatsApp. */
const LONGEST_YIELD_MS = 60_000;

type Slots = { readonly row: Row; readonly everyMs: number };

/** Takes a turn in the account's row and in the chat's; both are moved on. */
export function takeTurn(account: Slots, chat: Slots): Turn {
  const accountAt = freeAt(account);
  const inMs = Math.max(accountAt, freeAt(chat));
  if (inMs <= AHEAD_MS) {
    account.row.freeInMs = accountAt + account.everyMs;
    chat.row.freeInMs = inMs + chat.everyMs;
    return { granted: true, inMs };
  }
  const { row, everyMs } = accountAt > AHEAD_MS ? account : chat;
  const again = Math.max(inMs, row.queuedInMs);
  // Beyond that there are no places: whoever asks before theirs is taken a new one, and the old would stand empty. A
  // backlog of 20 minutes that queued up again every ten came to one message in a hundred of what was allowed.
  if (again > LONGEST_WAIT_MS) return { granted: false, inMs: LONGEST_WAIT_MS };
  row.queuedInMs = again + everyMs;
  return { granted: false, inMs: again };
}

/**
 * Of what has left without asking, somebody waited for it: the next one comes behind it. However much that is, nobody is
 * held up for longer than a minute by it.
 */
export function countTurn({ row, everyMs }: Slots): void {
  row.freeInMs = Math.max(row.freeInMs, Math.min(row.freeInMs + everyMs, LONGEST_YIELD_MS));
}

function freeAt({ row }: Slots): number {
  return Math.max(row.freeInMs, row.pausedInMs, 0);
}

/**
 * Texts of the platform that leave by our routes: what the platform is told of one, and when. Pure.
 *
 * The numbers are the platform's (developer.alteg.io, "Getting message statuses"). They are told in the order in which
 * they come about, each at least once: 8, then 4 once it has left, then how it ended.
 */

export const RELAY_STATUSES = [8, 4, 1, 2, 16, 52] as const;
/** 8 taken by us, 4 sent to the phone, 1 delivered, 2 not delivered, 16 refused by us, 52 no money at the provider. */
export type RelayStatus = (typeof RELAY_STATUSES)[number];

/** Service texts may be refused, advertising needs a consent. */
export type RelayCategory = 'service' | 'advertising';

/** How a channel says that its account is empty, at the end of its reason. */
export const NO_MONEY = 'no money left';

/** As much of a message as its status follows from. */
export type RelayStanding = {
  readonly state: string;
  /** Tries at a channel. */
  readonly attempts: number;
  readonly error: string | null;
};

/**
 * What is to be told next, after `told`; null: nothing until the message moves. Delivered is told of what a receipt
 * says, and of nothing else: where a channel has none, 4 is the last word. So it is where the outcome is unknown, since
 * after a 2 the platform, or the salon, might send the text again.
 */
export function nextStatus(told: RelayStatus | null, standing: RelayStanding): RelayStatus | null {
  if (told === null) return 8;
  if (told === 1) return null;
  const wasSent = told !== 8;
  switch (standing.state) {
    case 'delivered':
      return wasSent ? 1 : 4;
    case 'sent':
    case 'unknown':
      return wasSent ? null : 4;
    case 'due':
    case 'sending':
      return null;
    default:
      return told === 8 || told === 4 ? lossOf(standing) : null;
  }
}

/** Why a text did not arrive: it never left (16), nobody pays for it (52), or it was tried and failed (2). */
function lossOf({ state, attempts, error }: RelayStanding): RelayStatus {
  if (state === 'expired') return 2;
  if (error?.endsWith(NO_MONEY)) return 52;
  return attempts === 0 ? 16 : 2;
}

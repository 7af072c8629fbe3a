/** The states of an event and of a message, as commands and the API ask for them. */
export const EVENT_STATES = ['pending', 'waiting', 'done', 'dead', 'quarantined'] as const;
export const MESSAGE_STATES = [
  'due',
  'sending',
  'sent',
  'delivered',
  'failed',
  'dead',
  'unknown',
  'superseded',
  'expired',
  'cancelled',
] as const;

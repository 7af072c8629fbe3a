/** The port through which events become durable. */
import type { NewEvent } from '../store/inbox.ts';

export type Appended = {
  /** The id under which the event is kept: an earlier one's when this is a duplicate. */
  readonly id: string;
  readonly duplicate: boolean;
};

export type IngestLog = {
  /**
   * Resolves only when the event is durable. Rejects with `Unstorable` when these bytes can never be kept as an event,
   * with `Overloaded` when too much is waiting, with anything else when the log is not there now.
   */
  append(event: NewEvent): Promise<Appended>;
  /** Resolves when everything appended so far is durable or refused. */
  flushed(): Promise<void>;
};

/** The log is there, but this event's values cannot be stored, now or later. */
export class Unstorable extends Error {
  override readonly name = 'Unstorable';
}

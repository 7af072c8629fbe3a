/** What people send back through a messenger, as the rest of the project sees it; one file a messenger speaks it. */
import type { Button, ChannelName } from './channel.ts';

/** One thing that happened in a chat. */
export type Heard = { readonly chat: string } & (
  | {
      /** Somebody opened the bot, by a link with an invite or without (`''`). */
      readonly kind: 'start';
      readonly invite: string;
    }
  | {
      /** A phone number was shared. `own`: the messenger vouches that it is the sender's own. */
      readonly kind: 'contact';
      readonly phone: string;
      readonly own: boolean;
    }
  | {
      /** A button was pressed; `pressId` is to be answered so that it stops turning. */
      readonly kind: 'press';
      readonly press: string;
      readonly pressId: string;
    }
  | { readonly kind: 'text'; readonly text: string }
  /** The bot was blocked. */
  | { readonly kind: 'left' }
);

export type Reply = {
  readonly chat: string;
  readonly text: string;
  readonly buttons?: readonly Button[];
  /** Shows a button that shares the sender's own number, with this label. */
  readonly askForContact?: string;
  /** Takes that button away again. */
  readonly contactDone?: boolean;
};

export type Ear = {
  readonly channel: ChannelName;
  /** The bot's own id. */
  readonly account: string;
  /** The longest that `listen` waits for news. */
  readonly waitMs: number;
  /**
   * What came at `position` or later, and the position after it; empty when nothing came for `waitMs`. Rejects with a
   * `PlainError`-like message of codes only.
   */
  listen(position: number, signal: AbortSignal): Promise<{ heard: readonly Heard[]; position: number }>;
  /** Says something in a chat. A reply that does not arrive is not repeated; the answer says why, or undefined. */
  reply(reply: Reply, signal: AbortSignal): Promise<string | undefined>;
  /** Ends the waiting of a pressed button. The same. */
  acknowledge(pressId: string, signal: AbortSignal): Promise<string | undefined>;
  /** The address of the bot with an invite, for people to open. */
  inviteUrl(invite: string, signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
};

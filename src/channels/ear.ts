/** What people send back through a messenger, as the rest of the project sees it; one file a messenger speaks it. */
import type { EpochMs } from '../domain/time.ts';
import type { Button, ChannelName, SendResult } from './channel.ts';

/** One thing that happened in a chat. */
export type Heard = {
  readonly chat: string;
  /** When, by the messenger's clock; absent where it does not tell. */
  readonly saidAt?: EpochMs;
} & (
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
      /** A button was pressed; `pressId` is to be answered so that it stops turning, `''` where nothing turns. */
      readonly kind: 'press';
      readonly press: string;
      readonly pressId: string;
    }
  | { readonly kind: 'text'; readonly text: string }
  /** The bot was blocked. */
  | { readonly kind: 'left' }
  /** It is of no form that we know how to read, `raw` as it came; in a chat of `''`. */
  | { readonly kind: 'unread'; readonly raw: unknown; readonly error: string }
);

/** Reads one update with the messenger's own readers. One that cannot be read keeps none of the others from being heard. */
export function heardOf<T>(
  update: T,
  read: (update: T) => Heard | undefined,
  when: (update: T) => EpochMs | undefined = () => undefined,
): Heard[] {
  try {
    const heard = read(update);
    if (heard === undefined) return [];
    const saidAt = when(update);
    return [saidAt !== undefined && saidAt > 0 ? { ...heard, saidAt } : heard];
  } catch (error) {
    const name = error instanceof Error ? error.name : typeof error;
    return [{ chat: '', kind: 'unread', raw: update, error: name }];
  }
}

export type Reply = {
  readonly chat: string;
  readonly text: string;
  readonly buttons?: readonly Button[];
  /** Shows a button that shares the sender's own number, with this label. */
  readonly askForContact?: string;
  /** Takes that button away again. */
  readonly contactDone?: boolean;
};

/** Talks back in the chats of a messenger. */
export type Mouth = {
  readonly channel: ChannelName;
  /** A number is shared and the messenger vouches for it, the chat itself is the number, or there is none. */
  readonly numbers: 'shared' | 'chat' | 'none';
  /** Each reply is paid for: only what somebody has to know is said. */
  readonly costly: boolean;
  /** Says something in a chat, as a channel sends a message. What does not arrive is not repeated, whatever the outcome. */
  reply(reply: Reply, signal: AbortSignal): Promise<SendResult>;
  /** Ends the waiting of a pressed button. The answer says why it could not, or undefined. */
  acknowledge(pressId: string, signal: AbortSignal): Promise<string | undefined>;
  /** The address of the bot with an invite, for people to open. Rejects with a message of codes only. */
  inviteUrl(invite: string, signal: AbortSignal): Promise<string>;
  /** Reads an update that was `unread` once more: by now it may be of a form that is known. Empty: nothing that concerns us. */
  readAgain(raw: unknown): readonly Heard[];
  close(): Promise<void>;
};

/** Asks for news. */
export type Ear = Mouth & {
  /** The bot's own id. */
  readonly account: string;
  /** The longest that `listen` waits for news. */
  readonly waitMs: number;
  /**
   * What came at `position` or later, and the position after it; empty when nothing came for `waitMs`. Rejects with a
   * `PlainError`-like message of codes only.
   */
  listen(position: number, signal: AbortSignal): Promise<{ heard: readonly Heard[]; position: number }>;
};

/** Is told the news: the messenger calls an address of ours, where `Updates` reads what it brings. */
export type ToldEar = Mouth & {
  /** Sees to it that the messenger calls this address; absent where a person enters it. The answer is a fault. */
  subscribe?(url: string, signal: AbortSignal): Promise<string | undefined>;
};

/** What one call of a messenger's brought. */
export type Update = { readonly updateId: string; readonly said: Heard };

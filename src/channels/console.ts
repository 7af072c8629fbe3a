/** The console channel: shows a message instead of sending it. For the demo, for development, for a first look. */
import { maskPhone } from '../domain/phone.ts';
import { plainLine, plainText } from '../domain/plain.ts';
import type { Channel, Outgoing, Traits } from './channel.ts';

export type ConsoleConfig = {
  /** Takes one line, without its line break; a promise is waited for. */
  write(line: string): unknown;
};

const MAX_TEXT = 4000;

/** Reaches whoever looks, as fast as it is written. */
export const CONSOLE_TRAITS: Traits = {
  address: 'none',
  reaches: 'anybody',
  maxText: MAX_TEXT,
  buttons: false,
  receiptWithinMs: null,
  pace: null,
};

export function createConsole({ write }: ConsoleConfig): Channel {
  return {
    name: 'console',
    traits: CONSOLE_TRAITS,
    // A reader sees the id and knows a repeat.
    idempotent: true,
    concurrency: 1,
    async send(message, signal) {
      if (signal.aborted) return { outcome: 'retry', reason: 'stopped by us' };
      try {
        await Promise.all(block(message).map(write));
        return { outcome: 'sent', providerId: message.id };
      } catch {
        return { outcome: 'unknown', reason: 'the console could not be written to' };
      }
    },
  };
}

function block(message: Outgoing): string[] {
  const { purpose, notice, recipient, attempt } = message;
  const title = [purpose, notice?.kind, attempt > 1 ? `attempt ${attempt}` : undefined]
    .filter(Boolean)
    .join(' · ');
  const who = [plainLine(recipient.name, 40), maskPhone(recipient.phone)].filter(Boolean).join(', ');
  const text = plainText(message.text, MAX_TEXT).split('\n');
  return [
    `╭─ ${title}${who === '' ? '' : ` → ${who}`}`,
    ...text.map(line => (line === '' ? '│' : `│ ${line}`)),
    `╰─ ${plainLine(message.id, 40)}`,
  ];
}

/** The demo's screen: a header, a line for each change at the salon, and under it the message that followed. */
import type { ActionReport } from './describe.ts';

export type ToldMessage = {
  /** Null for a message about no booking. */
  readonly recordId: number | null;
  readonly kind: string;
  /** The recipient's name as it is shown. */
  readonly to: string;
  readonly text: string;
};

export type Header = {
  readonly salon: string;
  readonly webhookUrl: string;
  readonly pages: readonly { readonly title: string; readonly url: string }[];
  /** How it ends: by itself, or by Ctrl-C. */
  readonly ending: string;
};

export type LiveView = {
  header(header: Header): void;
  action(report: ActionReport): void;
  message(message: ToldMessage): void;
  note(text: string): void;
};

export type ViewOptions = {
  readonly write: (line: string) => void;
  readonly colour: boolean;
  /** Columns; lines are cut there. Uncut when absent. */
  readonly width?: number | undefined;
};

const NAME_WIDTH = 16;
const DIM = '2';
const BOLD = '1';
const GREEN = '32';
const YELLOW = '33';
const CYAN = '36';
const RED = '31';

const KIND_COLOURS: Readonly<Record<string, string>> = {
  create: CYAN,
  walk_in: CYAN,
  delete: RED,
  cancel: RED,
  no_show: RED,
  pay: DIM,
  edit_comment: DIM,
};

export function createView({ write, colour, width }: ViewOptions): LiveView {
  const paint = (code: string, text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const say = (code: string, text: string) => write(paint(code, cut(text, width)));
  return {
    header({ salon, webhookUrl, pages, ending }) {
      say(
        BOLD,
        'Otklik demo: the service, and a fake salon that sends webhooks as badly as the real wire does',
      );
      const rows = [
        ['salon', salon],
        ['webhooks', webhookUrl],
        ...pages.map(({ title, url }) => [title, url] as const),
      ] as const;
      for (const [title, text] of rows) write(`  ${title.padEnd(10)} ${text}`);
      say(DIM, `  ${ending}`);
      write('');
    },
    action({ at, resource, kind, recordIds, client, text }) {
      const record = resource === 'record' ? `#${recordIds[0] ?? ''}` : '';
      const others = recordIds.length > 1 ? ` (and ${recordIds.length - 1} more of the visit)` : '';
      const code = resource === 'record' ? (KIND_COLOURS[kind] ?? YELLOW) : DIM;
      say(code, `${clockTime(at)}  ${record.padEnd(10)}  ${client.padEnd(NAME_WIDTH)}  ${text}${others}`);
    },
    message({ recordId, kind, to, text }) {
      const about = recordId === null ? '' : `#${recordId}`;
      say(GREEN, `    told  ${about.padEnd(10)}  ${to.padEnd(NAME_WIDTH)}  ${kind}: ${oneLine(text)}`);
    },
    note: text => say(DIM, text),
  };
}

/** The wall clock of whoever looks at the screen. */
function clockTime(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map(part => String(part).padStart(2, '0'))
    .join(':');
}

function oneLine(text: string): string {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
    .join(' / ');
}

function cut(text: string, width: number | undefined): string {
  if (width === undefined || text.length <= width) return text;
  return `${text.slice(0, width - 1)}…`;
}

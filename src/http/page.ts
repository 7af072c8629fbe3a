/** Small pages for people with a phone in the hand: no script, nothing loaded, and whatever is put in is escaped. */
import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';

/** A piece of a page whose parts from outside are escaped already. */
export type Html = { readonly markup: string };

/** Text is escaped, pieces and lists of pieces go in as they are. */
export function html(
  parts: TemplateStringsArray,
  ...values: readonly (string | Html | readonly Html[])[]
): Html {
  const markup = parts.map((part, index) => {
    const value = values[index];
    return part + (value === undefined ? '' : markupOf(value));
  });
  return { markup: markup.join('') };
}

function markupOf(value: string | Html | readonly Html[]): string {
  if (typeof value === 'string') return value.replace(/[&<>"']/g, character => ENTITIES[character] ?? '');
  if ('markup' in value) return value.markup;
  return value.map(({ markup }) => markup).join('\n');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Buttons as wide as the page and 48 px high, for a thumb (WCAG 2.2 asks for 24, Apple for 44); light or dark as the
 * phone is. Lines of a text stay lines.
 */
const STYLE = `
:root { color-scheme: light dark }
body { max-width: 26rem; margin: 0 auto; padding: 1.5rem 1.25rem; font: 1.0625rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25 }
p { white-space: pre-line }
form { margin: .75rem 0 }
button { width: 100%; min-height: 48px; padding: .625rem 1rem; border: 1px solid; border-radius: .75rem; font: inherit; color: inherit; background: none; cursor: pointer }
button.main { color: #fff; background: #176b4d; border-color: #176b4d }
`;
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

export type Page = {
  readonly status: number;
  readonly language: string;
  readonly title: string;
  readonly body: readonly Html[];
  /** It has forms, which go to where it came from and nowhere else. */
  readonly forms?: boolean;
  /** It is not the last word: look again after so many seconds. */
  readonly againSeconds?: number;
};

/** Nothing may be loaded, run, framed or sent from the page; its URL, which may hold a secret, goes to no one. */
export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  const { status, language, title, body, forms = false, againSeconds } = page;
  const head = html`<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex"><title>${title}</title><style>${{ markup: STYLE }}</style>`;
  const whole = html`<!doctype html>
<html lang="${language}"><head>${head}</head><body>
<h1>${title}</h1>
${body}
</body></html>
`;
  if (againSeconds !== undefined) reply.header('refresh', againSeconds);
  return reply
    .code(status)
    .headers({
      'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action ${forms ? "'self'" : "'none'"}; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    .type('text/html; charset=utf-8')
    .send(whole.markup);
}

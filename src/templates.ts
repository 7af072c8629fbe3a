/** Reads the message templates from disk, once, at the start. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LOCALES } from './domain/locale.ts';

/** The templates that come with the project. */
const TEMPLATES_DIR = fileURLToPath(new URL('../templates', import.meta.url));

/** `<dir>/ru/booked.liquid` under the name `ru/booked`, and so on. */
export function loadTemplates(dir: string = TEMPLATES_DIR): Record<string, string> {
  const templates: Record<string, string> = {};
  for (const locale of LOCALES) {
    for (const file of readdirSync(join(dir, locale))) {
      if (!file.endsWith('.liquid')) continue;
      templates[`${locale}/${file.slice(0, -'.liquid'.length)}`] = readFileSync(
        join(dir, locale, file),
        'utf8',
      );
    }
  }
  return templates;
}

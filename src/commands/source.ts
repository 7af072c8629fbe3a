/** A text that a command is given as a file. */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { PlainError } from '../log.ts';

/**
 * The file's text, or that of standard input for `-`; without the mark with which Windows begins a file. Told is the whole
 * path: a command of `deploy/systemd/otklik` runs in another directory than it was typed in, and as another user.
 */
export async function readSource(file: string): Promise<string> {
  const path = resolve(file);
  const bytes = file === '-' ? await buffer(process.stdin) : await readBytes(path);
  // In Windows-1251 or UTF-16 its letters would reach clients as other signs.
  if (!isUtf8(bytes) || bytes.includes(0)) {
    throw new PlainError(`${file === '-' ? 'standard input' : path} is not text in UTF-8: save it as that`);
  }
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    throw new PlainError(`${path} cannot be read (${code}); - in its place reads standard input`, { cause });
  }
}

/** `policy …`: what a salon wants said, to whom and when. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { PlainError } from '../log.ts';
import { PolicyError, setPolicy, showPolicy, soundPolicy } from '../policies.ts';
import { type Context, parseId, print, withStore } from './run.ts';

type Json = { readonly json?: boolean };

/** Characters; a policy with everything in it is some 2,000. */
const MAX_DOCUMENT = 64 * 1024;

export async function policyShow(context: Context, id: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const shown = await showPolicy(pool, companyId);
    const own = Object.keys(shown.document).length === 0 ? 'nothing: all is as by default' : '';
    print(
      options,
      shown,
      [
        `Policy of company ${companyId}, version ${shown.version}. Written by the salon: ${own}`.trimEnd(),
        ...(own === '' ? [JSON.stringify(shown.document, null, 2)] : []),
        'In full:',
        JSON.stringify(shown.effective, null, 2),
      ].join('\n'),
    );
  });
}

export async function policySet(context: Context, id: string, file: string, options: Json): Promise<void> {
  const companyId = parseId(id, 'company');
  const value = await readDocument(file);
  await withStore(context, async ({ pool }) => {
    const shown = await setPolicy({ pool, actor: 'command' }, companyId, value);
    print(options, shown, `Policy of company ${companyId} is version ${shown.version} now.`);
  });
}

export async function policyValidate(_context: Context, file: string, options: Json): Promise<void> {
  const value = await readDocument(file);
  try {
    const document = soundPolicy(value);
    print(options, { valid: true, document, faults: [] }, 'The policy is sound.');
  } catch (error) {
    if (!(error instanceof PolicyError) || !options.json) throw error;
    print(options, { valid: false, faults: error.faults }, '');
    process.exitCode = 1;
  }
}

/** A JSON document from a file, or from standard input by `-`. */
async function readDocument(file: string): Promise<unknown> {
  const source = file === '-' ? await text(process.stdin) : await readSource(file);
  if (source.length > MAX_DOCUMENT)
    throw new PlainError(`the policy is longer than ${MAX_DOCUMENT} characters`);
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new PlainError('the policy is no JSON: check commas, quotes and brackets', { cause });
  }
}

async function readSource(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new PlainError(`${file} cannot be read`, { cause });
  }
}

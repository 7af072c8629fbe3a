/** `policy …`: what a salon wants said, to whom and when. */
import { PlainError } from '../log.ts';
import {
  listVersions,
  PolicyError,
  restorePolicy,
  setPolicy,
  showPolicy,
  soundPolicy,
} from '../salon/policies.ts';
import { type Context, more, parseId, print, table, withStore } from './run.ts';
import { readSource } from './source.ts';

type Json = { readonly json?: boolean };

/** Characters; a policy with everything in it is some 2,000. */
const MAX_DOCUMENT = 64 * 1024;

export async function policyShow(
  context: Context,
  id: string,
  { ofVersion, ...options }: Json & { readonly ofVersion?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const shown = await showPolicy(pool, companyId, ofVersion);
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

export async function policyVersions(
  context: Context,
  id: string,
  { limit, cursor, ...options }: Json & { readonly limit: number; readonly cursor?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async ({ pool }) => {
    const { items, next } = await listVersions(pool, companyId, { limit, cursor });
    const rows = items.map(({ version, at, actor }, place) => [
      ...[String(version), at, actor],
      cursor === undefined && place === 0 ? 'in force' : '',
    ]);
    const none =
      cursor === undefined ? 'Nothing was written: all is as by default.' : 'No versions before it.';
    const text = table(['version', 'written', 'by', ''], rows, none) + more(next);
    print(options, { companyId, items, next }, text);
  });
}

export async function policySet(
  context: Context,
  id: string,
  file: string | undefined,
  {
    ifVersion,
    fromVersion,
    ...options
  }: Json & { readonly ifVersion?: number; readonly fromVersion?: number },
): Promise<void> {
  const companyId = parseId(id, 'company');
  if ((file === undefined) === (fromVersion === undefined)) {
    throw new PlainError(
      'name a file with the document, - for standard input, or --from-version; one of them',
    );
  }
  const value = file === undefined ? undefined : await readDocument(file);
  await withStore(context, async ({ pool }) => {
    const deps = { pool, actor: 'command' } as const;
    const shown =
      fromVersion === undefined
        ? await setPolicy(deps, companyId, value, { ifVersion })
        : await restorePolicy(deps, companyId, fromVersion, { ifVersion });
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

/** How one of the team gets news. */
export function spokenGather(gather: string | null): string {
  if (gather === null) return '';
  return gather === 'digest' ? 'in the digest alone' : `what happens within ${gather} in one message`;
}

/** A JSON document from a file, or from standard input by `-`. */
export async function readDocument(file: string): Promise<unknown> {
  const source = await readSource(file);
  if (source.length > MAX_DOCUMENT)
    throw new PlainError(`the policy is longer than ${MAX_DOCUMENT} characters`);
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new PlainError('the policy is no JSON: check commas, quotes and brackets', { cause });
  }
}

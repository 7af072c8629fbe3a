/** `answers …`: what people sent to a bot and what could not be understood. What was said is not shown: it is theirs. */
import { PlainError } from '../log.ts';
import { audit } from '../store/companies.ts';
import { listAside, putBackAside } from '../store/heard.ts';
import { transaction } from '../store/pool.ts';
import { type Context, parseId, print, table, withStore } from './run.ts';

type Json = { readonly json?: boolean };

export async function answersAside(
  context: Context,
  { limit, ...options }: Json & { readonly limit: number },
): Promise<void> {
  await withStore(context, async ({ pool }) => {
    const items = (await listAside(pool, limit)).map(({ heardAt, ...update }) => ({
      ...update,
      heardAt: new Date(heardAt).toISOString(),
    }));
    const rows = items.map(({ id, heardAt, channel, kind, error }) => [
      ...[String(id), heardAt, channel, kind ?? 'erased', error],
    ]);
    const header = ['id', 'heard', 'channel', 'kind', 'error'];
    print(options, { items }, table(header, rows, 'Everything was understood.'));
  });
}

export async function answersRetry(
  context: Context,
  id: string | undefined,
  { all = false, ...options }: Json & { readonly all?: boolean },
): Promise<void> {
  if ((id !== undefined) === all) throw new PlainError('name an id that `answers aside` shows, or --all');
  const which = id === undefined ? null : parseId(id, 'id');
  await withStore(context, async ({ pool }) => {
    const putBack = await transaction(pool, async db => {
      const count = await putBackAside(db, which);
      const subject = which === null ? `all: ${count}` : String(which);
      if (count > 0) await audit(db, { actor: 'command', action: 'answers.retry', subject });
      return count;
    });
    if (putBack === 0 && which !== null) {
      throw new PlainError(
        `nothing is kept aside as ${which}: it is put back or heard already, or erased; \`answers aside\` lists what there is`,
      );
    }
    print(options, { putBack }, `${putBack} put back: the process with the role listen hears it next.`);
  });
}

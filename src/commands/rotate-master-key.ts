/** `rotate-master-key`: the second of the three steps by which OTKLIK_KEY is exchanged. */
import { rotateMasterKey } from '../rotate-master-key.ts';
import { type Context, print, withStore } from './run.ts';

export async function rotateMasterKeyCommand(context: Context, options: { json?: boolean }): Promise<void> {
  await withStore(context, async ({ pool, vault }) => {
    const secrets = await rotateMasterKey(pool, vault);
    print(
      options,
      { secrets },
      `All is sealed under OTKLIK_KEY now (secrets: ${secrets}). Webhook URLs stay as they are. ${next(context)}`,
    );
  });
}

function next({ config }: Context): string {
  return config.OTKLIK_KEY_OLD === undefined
    ? 'OTKLIK_KEY_OLD is not set here: no key was exchanged just now.'
    : 'Take OTKLIK_KEY_OLD out of the environment.';
}

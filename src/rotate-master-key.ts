/** The exchange of OTKLIK_KEY: all that is sealed is sealed anew, in one transaction. */
import { audit } from './store/companies.ts';
import { type Pool, transaction } from './store/pool.ts';
import { lockSecrets, lockSetting, replaceSecrets, saveSetting } from './store/settings.ts';
import type { Vault } from './vault.ts';

/**
 * Seals everything under the vault's own key, whichever of its two keys it was sealed under; from then on the old one is
 * not needed. May be run again. Returns how many secrets there are.
 */
export async function rotateMasterKey(pool: Pool, vault: Vault): Promise<number> {
  return transaction(pool, async db => {
    // Whoever rotates at the same time waits here.
    await lockSetting(db, 'key_fingerprint');
    const secrets = await lockSecrets(db);
    await replaceSecrets(
      db,
      secrets.map(secret => ({ ...secret, sealed: vault.seal(vault.open(secret.sealed)) })),
    );
    await saveSetting(db, 'url_hashing_key', vault.seal(vault.hashingKey).toString('base64'));
    await saveSetting(db, 'key_fingerprint', vault.fingerprint);
    await audit(db, { actor: 'command', action: 'master_key.rotate' });
    return secrets.length;
  });
}

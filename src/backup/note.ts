/** That a backup was made, remembered in the database it was made of: the watch tells when the next does not come. */
import { createPool } from '../store/pool.ts';
import { LAST_BACKUP, saveSetting } from '../store/settings.ts';

/** A row is written in milliseconds; whoever waits for more waits for a lock of a migration. */
const NOTE_LIMIT_MS = 10_000;

/** `at`: the moment of its cut. False: the backup is good, but of a standby, say, that takes no note of it. */
export async function noteBackup(url: string, at: string): Promise<boolean> {
  const pool = createPool(url, { max: 1, name: 'otklik backup', statementTimeoutMs: NOTE_LIMIT_MS });
  try {
    await saveSetting(pool, LAST_BACKUP, at);
    return true;
  } catch {
    return false;
  } finally {
    await pool.end();
  }
}

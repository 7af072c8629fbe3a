/** The project's files as a clone would have them: no node_modules, no build, nothing that git ignores. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

export async function packTree(tar: string): Promise<void> {
  const asked = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const { stdout } = await run('git', asked, { cwd: ROOT });
  const packed = run('tar', ['-cf', tar, '--null', '--files-from', '-'], { cwd: ROOT });
  packed.child.stdin?.end(stdout);
  await packed;
}

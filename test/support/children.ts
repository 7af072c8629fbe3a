/** The programs that a test's process starts end with it, however it ends. */
import type { ChildProcess } from 'node:child_process';

const living = new Set<ChildProcess>();

/** Answers the child. */
export function endsWithUs<Child extends ChildProcess>(child: Child): Child {
  living.add(child);
  child.once('exit', () => living.delete(child));
  return child;
}

const killAll = () => {
  for (const child of living) child.kill('SIGKILL');
};
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killAll();
    process.exit(1);
  });
}

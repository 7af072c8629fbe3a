/** The simulator as a process of its own. SIGINT and SIGTERM end it: what happened is still sent and written down. */
import { simulateCommand } from './command.ts';

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());

const write = (line: string) => process.stdout.write(`${line}\n`);
process.exitCode = await simulateCommand(process.argv.slice(2), { write, signal: stopping.signal });

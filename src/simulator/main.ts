/**
 * The simulator as a process of its own. Its options come as JSON on standard input, since the URL in them holds a
 * secret that a process list would show. It answers with a JSON line for each action, and the ledger at the end.
 * SIGINT and SIGTERM end it: what has happened at the salon is still sent, and the ledger is still written.
 */
import { text } from 'node:stream/consumers';
import { parseProcessOptions, simulate } from './command.ts';

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());

const write = (line: string) => process.stdout.write(`${line}\n`);
const options = parseProcessOptions(await text(process.stdin));
const ledger = await simulate({ ...options, json: true, write, signal: stopping.signal });
write(JSON.stringify({ type: 'ledger', ledger }));

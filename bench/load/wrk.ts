/**
 * Runs wrk as a process of its own and reads what its script reports.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { run } from '../children.ts';

/** After the last request wrk stays this long, so that every request sent is answered. */
const drainSeconds = 1;

const reportSchema = z.object({
  sent: z.number(),
  completed: z.number(),
  refused: z.number(),
  socket_errors: z.number(),
  seconds: z.number(),
  p50_ms: z.number(),
  p99_ms: z.number(),
  max_ms: z.number(),
  body_bytes: z.number(),
});
/** `refused` counts answers of 400 and above; `seconds` runs from the first request to the last one sent. */
export type LoadReport = z.infer<typeof reportSchema>;

type Load = {
  url: string;
  connections: number;
  seconds: number;
  /** 10..99: no two runs with different numbers send the same record or the same body. */
  run: number;
};

export async function runWrk(load: Load): Promise<LoadReport> {
  const untilMs = Date.now() + load.seconds * 1000;
  const stdout = await run({
    name: 'wrk',
    file: 'wrk',
    args: [
      ...['--threads', '1', '--connections', String(load.connections)],
      ...['--duration', `${load.seconds + drainSeconds}s`, '--timeout', '30s'],
      ...['--script', join(import.meta.dirname, 'record-updates.lua'), load.url, '--'],
      ...[join(import.meta.dirname, 'record-update.body'), String(load.run), String(untilMs)],
    ],
  });
  const line = stdout.split('\n').findLast(candidate => candidate.startsWith('{'));
  if (line === undefined) throw new Error(`wrk printed no report:\n${stdout}`);
  return reportSchema.parse(JSON.parse(line));
}

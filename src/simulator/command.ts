/** Runs the simulator and says what it does, line by line: for people, or as JSON for programs. */
import { writeFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Platform } from './api/platform.ts';
import type { ActionReport } from './describe.ts';
import { type Ledger, ledgerSchema } from './ledger.ts';
import { runSimulator, type SimulatorOptions } from './simulate.ts';

export type SimulateCommand = SimulatorOptions & {
  readonly json?: boolean | undefined;
  /** Where the ledger is written at the end, as JSON. */
  readonly ledgerFile?: string | undefined;
  readonly write: (line: string) => void;
};

/** Until the time is over or the signal comes; the ledger is written in both cases. */
export async function simulate({ json, ledgerFile, write, ...options }: SimulateCommand): Promise<Ledger> {
  const ledger = await runSimulator({
    ...options,
    onApi: platform => {
      for (const line of json ? [] : apiLines(platform)) write(line);
    },
    onAction: report => write(json ? JSON.stringify({ type: 'action', ...report }) : actionLine(report)),
  });
  if (ledgerFile !== undefined) await writeFile(ledgerFile, JSON.stringify(ledger));
  const { seed, records, counts } = ledger;
  const summary = { seed, bookings: records.length, ...counts };
  write(json ? JSON.stringify({ type: 'summary', ...summary }) : summaryLine(summary));
  return ledger;
}

/** How to point a service at the salon. */
function apiLines({ url, partnerToken, userToken }: Platform): readonly string[] {
  return [
    `REST API at ${url}: set YCLIENTS_API_URL=${url}`,
    `partner token ${partnerToken}, user token ${userToken}`,
  ];
}

function actionLine({ at, resource, recordIds, client, text }: ActionReport): string {
  const time = new Date(at).toISOString().slice(11, 19);
  return resource === 'record' ? `${time}  ${recordIds[0]}  ${client}: ${text}` : `${time}  ${text}`;
}

function summaryLine(summary: { readonly [name: string]: unknown }): string {
  return Object.entries(summary)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ');
}

/** What the simulator is told when it runs as a process of its own: one JSON value on its standard input. */
const processOptions = z.object({
  to: z.url({ protocol: /^https?$/ }),
  companyId: z.int().positive(),
  seed: z.int(),
  forMs: z.number().positive().optional(),
  perSecond: z.number().positive().optional(),
  faults: z.string().optional(),
  dropChance: z.number().min(0).max(1).optional(),
  brand: z.enum(['yclients', 'altegio']).optional(),
  zone: z.string().optional(),
  staff: z.int().positive().optional(),
  retries: z.int().min(0).optional(),
});
export type ProcessOptions = z.infer<typeof processOptions>;

export function parseProcessOptions(text: string): ProcessOptions {
  return processOptions.parse(JSON.parse(text));
}

/** What it says then: a line for each action, and the ledger as its last word. */
const processLine = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('action'),
    at: z.number(),
    resource: z.string(),
    kind: z.string(),
    recordIds: z.array(z.number()),
    client: z.string(),
    text: z.string(),
  }),
  z.object({ type: z.literal('summary') }),
  z.object({ type: z.literal('ledger'), ledger: ledgerSchema }),
]);
export type ProcessLine = z.infer<typeof processLine>;

export function parseProcessLine(line: string): ProcessLine {
  return processLine.parse(JSON.parse(line));
}

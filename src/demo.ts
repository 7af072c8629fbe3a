/**
 * The demo: a service, a fake salon in a process of its own, a live view; at the end the service's state and messages
 * against the salon's own ledger.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Brand, salonTitle } from './simulator/cast.ts';
import { type ProcessOptions, parseProcessLine } from './simulator/command.ts';
import type { ActionReport } from './simulator/describe.ts';
import type { Ledger } from './simulator/ledger.ts';
import { createView, type Header, type LiveView, type ToldMessage } from './simulator/live-view.ts';
import { ZONES } from './simulator/simulate.ts';
import type { ServiceState, Verdict } from './simulator/verdict.ts';
import { compare, isClean, SLACK_MS } from './simulator/verify.ts';

export type DemoCompany = {
  readonly companyId: number;
  readonly title: string;
  readonly brand: Brand;
  readonly zone: string;
  /** Short, so that a message follows its cause on the screen. */
  readonly settleMs: number;
};

/** What the demo needs of a running service. */
export type DemoService = {
  /** Adds the invented salon; `url` is where its webhooks go. */
  addCompany(company: DemoCompany): Promise<{ readonly url: string }>;
  /** Resolves when no event is pending and no message is open, or `signal` aborts. */
  drained(signal: AbortSignal): Promise<void>;
  snapshot(companyId: number): Promise<ServiceState>;
  /** Calls `listener` for each message as it leaves. */
  onMessage(listener: (message: ToldMessage) => void): void;
  readonly pages: Header['pages'];
  /** May be called twice. */
  stop(): Promise<void>;
};

export type DemoOptions = {
  readonly seed: number;
  /** Ends by itself and compares; endless when absent. */
  readonly forMs?: number | undefined;
  readonly perSecond?: number | undefined;
  readonly faults?: string | undefined;
  readonly dropChance?: number | undefined;
  readonly brand?: Brand | undefined;
  readonly companyId?: number | undefined;
  /** Nothing but the verdict, as one JSON value. */
  readonly json?: boolean | undefined;
  readonly colour?: boolean | undefined;
  readonly width?: number | undefined;
  readonly write: (line: string) => void;
  /** For what is wrong; standard error. */
  readonly complain: (line: string) => void;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
};

const COMPANY_ID = 700_001;
const SETTLE_MS = 2_000;
/** What has not settled by then never will, and the verdict shows it. */
const DRAIN_LIMIT_MS = 60_000;
/** After Ctrl-C the simulator still sends what has happened; then it is killed. */
const STOP_LIMIT_MS = 5_000;
const SHOWN_FINDINGS = 20;
const INTERRUPTED = 130;

/**
 * Returns the exit code: 0 when it was ended by Ctrl-C, or when all was told once; 1 when the verdict found anything
 * else; 130 when Ctrl-C came before a verdict that was asked for. Stops the service whatever happens.
 */
export async function runDemo(service: DemoService, options: DemoOptions): Promise<number> {
  const { json = false, signal, forMs, colour = false, write } = options;
  const view = createView(json ? { write: () => {}, colour } : { ...options, write, colour });
  try {
    const company = companyOf(options);
    const { url } = await service.addCompany(company);
    view.header(headerOf(company, url, service, options));
    service.onMessage(message => view.message(message));
    const stalls = monitorEventLoopDelay();
    stalls.enable();
    const ledger = await runSalon(salonOptions(company, url, options), report => view.action(report), signal);
    if (ledger === null || signal.aborted) {
      view.note(ledger === null ? 'stopped' : `stopped after ${countsOf(ledger)}`);
      return forMs === undefined ? 0 : INTERRUPTED;
    }
    view.note(`the salon has closed after ${countsOf(ledger)}; waiting for what is under way`);
    await drain(service, options);
    if (signal.aborted) return INTERRUPTED;
    const checkedAt = Date.now();
    // A machine that stood still for seconds says nothing about us.
    const slackMs = SLACK_MS + stalls.max / 1e6;
    const verdict = compare(ledger, await service.snapshot(company.companyId), { checkedAt, slackMs });
    report(verdict, options, view);
    return isClean(verdict) ? 0 : 1;
  } finally {
    await service.stop();
  }
}

function companyOf({ companyId = COMPANY_ID, brand = 'yclients' }: DemoOptions): DemoCompany {
  const title = salonTitle(brand);
  return { companyId, title, brand, zone: ZONES[brand], settleMs: SETTLE_MS };
}

function headerOf(
  { title, brand, zone }: DemoCompany,
  url: string,
  service: DemoService,
  { seed, faults = 'all', forMs }: DemoOptions,
): Header {
  const end = forMs === undefined ? '' : `ends by itself in ${Math.round(forMs / 1000)} s; `;
  return {
    salon: `${title} (${brand}, ${zone}), seed ${seed}, faults: ${faults}`,
    webhookUrl: withoutKey(url),
    pages: service.pages,
    ending: `${end}Ctrl-C stops everything`,
  };
}

/** The key in the URL is a secret even when the salon is invented: screens are recorded. */
function withoutKey(url: string): string {
  return url.replace(/[^/]{8,}$/, '…');
}

function salonOptions(
  { companyId, brand, zone }: DemoCompany,
  to: string,
  { seed, forMs, perSecond, faults, dropChance }: DemoOptions,
): ProcessOptions {
  return { to, companyId, brand, zone, seed, forMs, perSecond, faults, dropChance };
}

/** The salon in its own process, until its time is over or `signal`; null when it had to be killed. */
async function runSalon(
  options: ProcessOptions,
  onAction: (report: ActionReport) => void,
  signal: AbortSignal,
): Promise<Ledger | null> {
  const main = fileURLToPath(new URL('./simulator/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  let killer: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill('SIGTERM');
    killer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  };
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    child.stdin.end(JSON.stringify(options));
    let ledger: Ledger | null = null;
    for await (const text of createInterface({ input: child.stdout })) {
      const line = parseProcessLine(text);
      if (line.type === 'action') onAction(line);
      if (line.type === 'ledger') ledger = line.ledger;
    }
    const [code] = await ended;
    if (ledger === null && !signal.aborted)
      throw new Error(`the fake salon ended with code ${code} before its time`);
    return ledger;
  } finally {
    clearTimeout(killer);
    signal.removeEventListener('abort', stop);
  }
}

function countsOf({ counts, records }: Ledger): string {
  const { actions, requests, dropped, answers } = counts;
  const refused = Object.entries(answers).filter(([answer]) => !answer.startsWith('2'));
  return [
    `${actions} actions, ${records.length} bookings, ${requests} requests`,
    ...(dropped > 0 ? [`${dropped} webhooks lost`] : []),
    ...refused.map(([answer, count]) => `${count} answered ${answer}`),
  ].join(', ');
}

async function drain(service: DemoService, { signal, complain }: DemoOptions): Promise<void> {
  const limit = AbortSignal.timeout(DRAIN_LIMIT_MS);
  try {
    await service.drained(AbortSignal.any([limit, signal]));
  } catch (error) {
    if (!limit.aborted && !signal.aborted) throw error;
  }
  if (limit.aborted)
    complain(`the service had not settled after ${DRAIN_LIMIT_MS / 1000} s; compared as it stands`);
}

function report(verdict: Verdict, { json, write, complain }: DemoOptions, view: LiveView): void {
  const { details, ...counts } = verdict;
  for (const { verdict: name, recordId, recipient = '', why } of details.slice(0, SHOWN_FINDINGS)) {
    complain(`${name} #${recordId} ${recipient} ${why}`);
  }
  if (details.length > SHOWN_FINDINGS) complain(`… and ${details.length - SHOWN_FINDINGS} more`);
  if (json) {
    write(JSON.stringify(counts));
    return;
  }
  view.note(
    isClean(verdict)
      ? 'every client was told once, and every booking is as at the salon:'
      : 'not as it should be:',
  );
  write(
    Object.entries(counts)
      .map(([name, count]) => `  ${name.padEnd(14)}${String(count).padStart(5)}`)
      .join('\n'),
  );
}

/**
 * What it costs the platform to keep up with a thousand salons: polling each of them every minute against webhooks and
 * reconciliation, as calls per 1,000 changes. On virtual time; the platform's own limiter says whether the budget held.
 */
import { parseArgs } from 'node:util';
import { migrate } from '../src/store/migrate.ts';
import { type Fleet, type FleetResult, runFleet } from './fleet.ts';
import { startPostgres } from './postgres.ts';
import { type Bench, progress, type Result, runBench, wholeNumber } from './run.ts';
import { round } from './statistics.ts';

type Options = Pick<Fleet, 'companies' | 'hours' | 'changesADay' | 'seed'>;

async function measure(bench: Bench, options: Options): Promise<Result> {
  const postgres = await startPostgres(bench);
  const run = async (source: Fleet['source']): Promise<FleetResult> => {
    const databaseUrl = await postgres.createDatabase(`bench_efficiency_${source}`);
    await migrate(databaseUrl);
    progress(`${options.companies} salons, ${source}: first import`);
    return runFleet({
      ...options,
      databaseUrl,
      source,
      onHour: hour => progress(`  hour ${hour} of ${options.hours}`),
    });
  };
  const startedAt = performance.now();
  const polling = await run('poll');
  const webhooks = await run('webhook');
  const seconds = (performance.now() - startedAt) / 1000;
  return report(options, { polling, webhooks_reconcile: webhooks }, seconds);
}

type Ways = { readonly polling: FleetResult; readonly webhooks_reconcile: FleetResult };

function report({ companies, hours, changesADay }: Options, ways: Ways, seconds: number): Result {
  const { polling, webhooks_reconcile: webhooks } = ways;
  const each = <T>(of: (way: FleetResult) => T) => ({
    polling: of(polling),
    webhooks_reconcile: of(webhooks),
  });
  const per1000 = (way: FleetResult) => round((way.calls * 1000) / way.changes, 0);
  const figures = {
    companies,
    changes: webhooks.changes,
    calls: each(way => way.calls),
    budget_exceeded: polling.refused + webhooks.refused,
    calls_per_1000_changes: each(per1000),
    // What polling each minute would take, which the budget may not give.
    polling_wanted: companies * hours * 60,
    most_per_s: each(way => way.maxPerSecond),
    most_per_min: each(way => way.maxPerMinute),
    interval_s: each(way => way.intervalMs / 1000),
    mean_interval_s: each(way => round(way.meanIntervalMs / 1000, 1)),
    longest_interval_s: each(way => round(way.longestIntervalMs / 1000, 1)),
    companies_late: each(way => way.companiesLate),
    by_operation: each(way => way.byOperation),
    webhooks_lost: webhooks.webhooksLost,
    unknown: each(way => way.unknown),
    ...{ hours, changes_a_day: changesADay, seconds: round(seconds, 0) },
    cpu_seconds: round(process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6, 0),
  };
  const line = (name: string, way: FleetResult) =>
    [
      name.padEnd(24),
      String(way.calls).padStart(8),
      String(per1000(way)).padStart(18),
      `${way.maxPerSecond}/s ${way.maxPerMinute}/min`.padStart(14),
      `${round(way.intervalMs / 1000, 0)} s`.padStart(8),
      `${round(way.meanIntervalMs / 1000, 1)} s`.padStart(9),
      `${round(way.longestIntervalMs / 1000, 1)} s`.padStart(9),
    ].join('');
  const table = [
    `${companies} salons, ${hours} h, ${webhooks.changes} changes (${changesADay} a day each), in ${figures.seconds} s`,
    `${' '.repeat(24)}${'calls'.padStart(8)}${'per 1,000 changes'.padStart(18)}${'most'.padStart(14)}${'asked'.padStart(8)}${'was'.padStart(9)}${'longest'.padStart(9)}`,
    line('polling each minute', polling),
    line('webhooks, reconciliation', webhooks),
    `${webhooks.webhooksLost} webhooks were lost; changes that nobody found: ${polling.unknown} and ${webhooks.unknown}`,
    `refused by the platform for being too many: ${figures.budget_exceeded}`,
  ].join('\n');
  const same = polling.changes === webhooks.changes;
  if (!same)
    progress(`the two ways saw ${polling.changes} and ${webhooks.changes} changes: they cannot be compared`);
  const whole = polling.unknown + webhooks.unknown === 0;
  return { figures, table, ok: figures.budget_exceeded === 0 && whole && same };
}

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    companies: { type: 'string', default: '1000' },
    hours: { type: 'string', default: '1' },
    'changes-a-day': { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
  },
});

await runBench(flags.json, bench =>
  measure(bench, {
    companies: wholeNumber('companies', flags.companies, 2_000),
    hours: wholeNumber('hours', flags.hours, 48),
    changesADay: wholeNumber('changes-a-day', flags['changes-a-day'], 1_000),
    seed: wholeNumber('seed', flags.seed, 1_000_000),
  }),
);

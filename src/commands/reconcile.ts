/** `reconcile`: compares one company with the platform now, and shows how far it is. */
import { commandAccess } from '../api-access.ts';
import type { SweepKind } from '../domain/sweep.ts';
import { createLog } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { requireCompany } from '../salon/companies.ts';
import { createReconciler } from '../work/reconcile.ts';
import type { Turn } from '../work/sweep.ts';
import { type Context, parseId, print, withStore } from './run.ts';

type Options = { readonly json?: boolean; readonly full?: boolean };
export async function reconcileCommand(context: Context, id: string, options: Options): Promise<void> {
  const companyId = parseId(id, 'company');
  await withStore(context, async opened => {
    const { pool } = opened;
    await requireCompany(pool, companyId);
    const access = commandAccess(context.config, opened);
    const sums = new Map<SweepKind, { pages: number; read: number; found: number }>();
    const reconciler = createReconciler({
      ...{ pool, log: createLog('silent'), metrics: createMetrics(), now: Date.now, random: Math.random },
      apiOf: access.findApi,
      onFound: () => {},
    });
    const onTurn = (kind: SweepKind, { cursor: { pages, read, found } }: Turn) => {
      sums.set(kind, { pages, read, found });
      if (pages === 0) return;
      const walked = `${pages} ${pages === 1 ? 'page' : 'pages'}`;
      process.stderr.write(`${NAMES[kind]}: ${walked}, ${read} bookings read, ${found} differ\n`);
    };
    try {
      await reconciler.sweepNow(companyId, { full: options.full ?? false, onTurn });
    } finally {
      await reconciler.stop();
      await access.close();
    }
    const found = [...sums.values()].reduce((sum, one) => sum + one.found, 0);
    const text =
      found === 0
        ? `Company ${companyId} is as the platform has it.`
        : `Company ${companyId}: ${found} differed and are in the inbox; \`events list --company ${companyId}\` shows them.`;
    print(options, { companyId, found, sweeps: Object.fromEntries(sums) }, text);
  });
}

const NAMES: Record<SweepKind, string> = {
  baseline: 'first import',
  delta: 'what was changed',
  full: 'the coming days',
};

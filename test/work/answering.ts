/** A salon at the simulator's platform, one company that reads its API, and everything between a visit and an answer. */
import type { Channel } from '../../src/channels/channel.ts';
import { startPlatform } from '../../src/simulator/api/platform.ts';
import { planBaseline } from '../../src/store/sweeps.ts';
import { createApiClient } from '../../src/yclients/client.ts';
import { createPipeline, unpaced } from './pipeline.ts';

export const COMPANY = 5;
const VISIT = '2031-05-20T14:30:00';

export async function createAnswering(
  channel: Channel,
  options: {
    readonly answers?: boolean;
    readonly answerUrl?: (companyId: number, messageId: string) => string;
    /** Beside the one channel, in the order of the route. */
    readonly others?: readonly Channel[];
  },
) {
  const platform = await startPlatform({ limits: null });
  const branch = platform.add(COMPANY, { zone: 'Europe/Moscow' });
  const client = createApiClient({
    brand: 'yclients',
    baseUrl: platform.url,
    partnerToken: platform.partnerToken,
    gate: { enter: async () => {}, report: async () => {} },
    now: Date.now,
    random: () => 0.5,
  });
  const api = client.company(COMPANY, platform.userToken);
  const pipeline = await createPipeline();
  const all = [channel, ...(options.others ?? [])].map(unpaced);
  const channels = new Map(all.map(one => [one.name, one]));
  const { dispatcher, processor } = pipeline.another({ ...options, channels });
  await pipeline.addCompany({ companyId: COMPANY, title: 'Студия Север', route: [...channels.keys()] });
  await planBaseline(pipeline.pool, COMPANY, pipeline.now);

  async function settles(): Promise<void> {
    await processor.drain();
    await dispatcher.drain();
  }

  /** A webhook about the record as it is now. */
  async function tellsOf(recordId: number, status: string): Promise<void> {
    const data = await api.record(recordId);
    const body = JSON.stringify({
      ...{ company_id: COMPANY, resource: 'record', resource_id: recordId, status },
      data: data ?? { id: recordId, company_id: COMPANY, deleted: true },
    });
    pipeline.now = Math.max(pipeline.now + 1000, Date.now());
    await pipeline.receive(COMPANY, [{ body, receivedAt: pipeline.now }]);
    await settles();
  }

  return {
    ...{ platform, pipeline, branch, api, settles, tellsOf },
    /** The salon books a visit; the platform's webhook of it comes in and is told. */
    async books(who: { readonly phone: string; readonly email?: string }, datetime = VISIT): Promise<number> {
      const [staff] = branch.salon().cast.staff;
      const [service] = branch.salon().cast.services;
      await api.createRecord({
        staff_id: staff?.id,
        services: [{ id: service?.id }],
        client: { name: 'Мила', ...who },
        datetime: datetime.replace('T', ' '),
        save_if_busy: true,
        comment: 'у окна',
      });
      const recordId = branch.records().at(-1)?.id ?? 0;
      await tellsOf(recordId, 'create');
      return recordId;
    },
    attendanceOf: (recordId: number) => branch.record(recordId)?.attendance,
    isDeleted: (recordId: number) => branch.record(recordId)?.deleted,
    async stateOf(
      kind: string,
      recordId: number,
    ): Promise<{ state: string; reason: string | null } | undefined> {
      const { rows } = await pipeline.pool.query(
        'SELECT state, reason FROM actions WHERE record_id = $1 AND kind = $2 ORDER BY id DESC LIMIT 1',
        [recordId, kind],
      );
      return rows[0];
    },
    async close() {
      await dispatcher.stop();
      await processor.stop();
      await Promise.all([...all.map(one => one.close?.()), client.close()]);
      await pipeline.close();
      await platform.close();
    },
  };
}

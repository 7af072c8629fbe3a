/**
 * Record webhooks for the benchmarks: the sample body of the load with other values put in. All data is invented.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const sampleSchema = z.looseObject({
  data: z.looseObject({
    client: z.looseObject({}),
    staff: z.looseObject({}),
    services: z.tuple([z.looseObject({})]),
  }),
});
const sample = sampleSchema.parse(
  JSON.parse(readFileSync(join(import.meta.dirname, 'load', 'record-update.body'), 'utf8')),
);

/** The salon's zone: no daylight saving, so that its wall clock is one addition. */
export const zone = 'Europe/Moscow';
const zoneOffsetMs = 3 * 3_600_000;

export type RecordState = {
  recordId: number;
  clientId: number;
  status: 'create' | 'update';
  staffId: number;
  serviceIds: number[];
  attendance: number;
  startsAtMs: number;
  createdAtMs: number;
  changedAtMs: number;
};

/** The body of the webhook that tells of `state`. */
export function recordWebhook(companyId: number, state: RecordState): string {
  const [service] = sample.data.services;
  return JSON.stringify({
    ...sample,
    company_id: companyId,
    resource_id: state.recordId,
    status: state.status,
    data: {
      ...sample.data,
      id: state.recordId,
      company_id: companyId,
      visit_id: state.recordId,
      staff_id: state.staffId,
      date: wallClock(state.startsAtMs).replace('T', ' '),
      datetime: `${wallClock(state.startsAtMs)}+03:00`,
      create_date: `${wallClock(state.createdAtMs)}+0300`,
      last_change_date: `${wallClock(state.changedAtMs)}+0300`,
      attendance: state.attendance,
      visit_attendance: state.attendance,
      services: state.serviceIds.map(id => ({ ...service, id, title: `Услуга ${id}` })),
      staff: { ...sample.data.staff, id: state.staffId },
      client: {
        ...sample.data.client,
        id: state.clientId,
        phone: `+7900${String(state.clientId).slice(-7)}`,
      },
    },
  });
}

/** `2026-11-24T08:30:00`, to the second, as the salon's clock shows it. */
function wallClock(epochMs: number): string {
  return new Date(epochMs + zoneOffsetMs).toISOString().slice(0, 19);
}

/** What a service shows of itself to be judged, and what the judgement looks like. */
import { z } from 'zod';
import type { EpochMs, Wall } from '../domain/time.ts';

export type SaidService = { readonly id: number; readonly amount: number };

/** What a message says of a visit. */
export type SaidFacts = {
  readonly status: 'booked' | 'cancelled';
  readonly startsLocal: Wall;
  readonly staffId: number | null;
  readonly services: readonly SaidService[];
};

export type ServiceBooking = {
  readonly recordId: number;
  readonly state: string;
  /** Null or absent: no body has said so yet. */
  readonly startsLocal?: Wall | null | undefined;
  readonly staffId?: number | null | undefined;
  readonly services?: readonly SaidService[] | null | undefined;
  readonly clientId?: number | null | undefined;
  readonly deleted?: boolean | null | undefined;
  readonly attendance?: number | null | undefined;
  readonly paid?: boolean | null | undefined;
};

export type ServiceMessage = {
  readonly recordId: number;
  /** `client:<id>`; messages to others are not judged. */
  readonly recipient: string;
  readonly kind: string;
  /** Only `sent`, `delivered` and `unknown` (it may have gone out) count as said. */
  readonly state: string;
  readonly before: SaidFacts | null;
  readonly after: SaidFacts;
  readonly sentAt: EpochMs | null;
};

export type ServiceState = {
  readonly bookings: readonly ServiceBooking[];
  readonly messages: readonly ServiceMessage[];
};

export type Finding = {
  readonly verdict: 'state_differs' | 'told_twice' | 'told_wrong' | 'not_told';
  readonly recordId: number;
  readonly recipient?: string;
  readonly why: string;
};

export type Verdict = {
  readonly bookings: number;
  readonly state_differs: number;
  readonly told_once: number;
  readonly told_twice: number;
  readonly told_wrong: number;
  readonly not_told: number;
  readonly details: readonly Finding[];
};

const services = z.array(z.object({ id: z.number(), amount: z.number() }));
const saidFacts = z.object({
  status: z.enum(['booked', 'cancelled']),
  startsLocal: z.string(),
  staffId: z.number().nullable(),
  services,
});
const serviceState = z.object({
  bookings: z.array(
    z.object({
      recordId: z.number(),
      state: z.string(),
      startsLocal: z.string().nullish(),
      staffId: z.number().nullish(),
      services: services.nullish(),
      clientId: z.number().nullish(),
      deleted: z.boolean().nullish(),
      attendance: z.number().nullish(),
      paid: z.boolean().nullish(),
    }),
  ),
  messages: z.array(
    z.object({
      recordId: z.number(),
      recipient: z.string(),
      kind: z.string(),
      state: z.string(),
      before: saidFacts.nullable(),
      after: saidFacts,
      sentAt: z.number().nullable(),
    }),
  ),
});

/** The door for what a service's own views give; what it does not know here is left out. Throws on other shapes. */
export function parseServiceState(value: unknown): ServiceState {
  return serviceState.parse(value);
}

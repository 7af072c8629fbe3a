/** What a service shows of itself to be judged, and what the judgement looks like. */
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
  readonly startsLocal?: Wall | null;
  readonly staffId?: number | null;
  readonly services?: readonly SaidService[] | null;
  readonly clientId?: number | null;
  readonly deleted?: boolean | null;
  readonly attendance?: number | null;
  readonly paid?: boolean | null;
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

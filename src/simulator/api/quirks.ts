/** What is undocumented or differs between builds of the platform: to be chosen, and changed while it runs. */
import { type Faults, parseFaults } from '../faults.ts';
import type { ErrorForm } from './answers.ts';

export type Quirks = {
  /** In what shapes records are written; the faults of the way mean nothing here, but `permute`: services in any order. */
  readonly bodies: Faults;
  /** The zone of a `changed_after` without an offset: `salon`, or an IANA zone. */
  readonly naiveZone: string;
  /** Of a deleted record by its id: `deleted: true`, or not found. */
  readonly deletedRecord: 'told' | 'not_found';
  /** Where a company's zone stands: older builds have it in `timezone`, or only hours there. */
  readonly companyZone: 'timezone_name' | 'timezone' | 'hours';
  /** `meta.total_count`. */
  readonly totals: 'true' | 'too_small' | 'too_large' | 'absent';
  readonly errors: ErrorForm | 'either';
  /** Refusals come with HTTP 200, as they do now and then; never those of tokens. */
  readonly refusesWith200: boolean;
  /** How a 429 looks: without a body, the same with `Retry-After: 1`, or an error body. */
  readonly limited: 'empty' | 'retry_after' | 'error_body';
  /** Whether answers of `hooks_settings` hold `url_settings`: newer builds. */
  readonly hooks: 'plain' | 'url_settings';
  /** What becomes of a URL new to the salon that is registered without an application of the marketplace. */
  readonly newHooks: 'taken' | 'silently_ignored' | 'refused';
};

export const PLAIN: Quirks = {
  bodies: parseFaults('none'),
  naiveZone: 'salon',
  deletedRecord: 'told',
  companyZone: 'timezone_name',
  totals: 'true',
  errors: 'success',
  refusesWith200: false,
  limited: 'empty',
  hooks: 'plain',
  newHooks: 'taken',
};

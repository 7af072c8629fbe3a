/** What goes wrong with a call on demand, and is no word of the API's. */
import type { EpochMs } from '../../domain/time.ts';
import type { Random } from '../random.ts';

/**
 * - `error`: a 502 without a body; `hang`: no answer until the caller leaves; `down`: the connection is cut
 * - `truncated`: the right answer, cut in the middle; `html`: a proxy's page, with 200; `limited`: a 429
 */
export const TROUBLES = ['error', 'hang', 'down', 'truncated', 'html', 'limited'] as const;
export type TroubleKind = (typeof TROUBLES)[number];

export type Trouble = {
  readonly kind: TroubleKind;
  /** Of the calls, 0 to 1; all unless told. */
  readonly share?: number;
  /** Which calls; all unless told. */
  readonly operations?: readonly string[];
  readonly companyId?: number;
  /** How many calls at most; endless unless told. */
  readonly times?: number;
  /** Over by itself at this moment of the platform's clock. */
  readonly untilMs?: EpochMs;
  /** The call is obeyed, and only its answer suffers: how a create is done that seems to have failed. */
  readonly obeyed?: boolean;
};

export type Troubles = {
  set(troubles: readonly Trouble[]): void;
  /** What befalls this call. */
  strike(operation: string, companyId: number | undefined, now: EpochMs): Trouble | undefined;
};

export function openTroubles(random: Random): Troubles {
  let left: { readonly trouble: Trouble; times: number }[] = [];
  return {
    set(troubles) {
      left = troubles.map(trouble => ({ trouble, times: trouble.times ?? Number.POSITIVE_INFINITY }));
    },
    strike(operation, companyId, now) {
      const struck = left.find(
        ({ trouble, times }) =>
          times > 0 &&
          now < (trouble.untilMs ?? Number.POSITIVE_INFINITY) &&
          (trouble.operations?.includes(operation) ?? true) &&
          (trouble.companyId === undefined || trouble.companyId === companyId) &&
          random.chance(trouble.share ?? 1),
      );
      if (struck !== undefined) struck.times -= 1;
      return struck?.trouble;
    },
  };
}

/** `error:0.1,hang:0.01`, or `none`: kinds with their share of the calls (all of them unless told). Throws on anything else. */
export function parseTroubles(text: string): readonly Trouble[] {
  if (text === 'none') return [];
  return text.split(',').map(item => {
    const [name, shareText = '1'] = item.trim().split(':');
    const kind = TROUBLES.find(one => one === name);
    const share = Number(shareText);
    if (kind === undefined || shareText === '' || !(share >= 0 && share <= 1))
      throw new Error(
        `unknown trouble "${item}": use none, or a list of ${TROUBLES.join(', ')}, like error:0.1`,
      );
    return { kind, share };
  });
}

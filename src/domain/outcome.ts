/** What came of an answer, in words for whoever gave it. A visit of several records has an outcome for each. */
import type { ActionKind, Refusal } from './answer.ts';
import type { Locale } from './locale.ts';
import { PHRASES, type Phrases } from './phrases.ts';
import { spokenTime } from './text.ts';
import type { Wall } from './time.ts';

/** Why a `move` is done that has no link: the salon's own people are told of it. */
export const PASSED_ON = 'passed_on';

export type Outcome = {
  readonly recordId: number;
  readonly kind: ActionKind;
  readonly state: string;
  readonly reason: string | null;
  /** Where the visit can be moved. */
  readonly link: string | null;
};

/** One sentence where all records came to the same, else one of each. */
export function outcomeWords(
  outcomes: readonly Outcome[],
  { records }: { readonly records: readonly { readonly recordId: number; readonly startsLocal: Wall }[] },
  { locale, phone }: { readonly locale: Locale; readonly phone: string },
): string {
  const phrases = PHRASES[locale];
  const said = records.flatMap(({ recordId, startsLocal }) => {
    const outcome = outcomes.find(candidate => candidate.recordId === recordId);
    return outcome === undefined ? [] : [{ when: spokenTime(startsLocal, locale).when, outcome }];
  });
  const [first] = said;
  if (first === undefined) return phrases.failed(phone);
  const alike = said.every(
    ({ outcome: { state, reason } }) => state === first.outcome.state && reason === first.outcome.reason,
  );
  if (alike) return wordsOf(first.outcome, first.when, phrases, phone);
  return said.map(({ when, outcome }) => `${when}: ${wordsOf(outcome, when, phrases, phone)}`).join('\n');
}

function wordsOf(
  { kind, state, reason, link }: Outcome,
  when: string,
  phrases: Phrases,
  phone: string,
): string {
  if (state === 'refused' && isRefusal(reason)) return phrases.refused(reason);
  if (state !== 'done') return phrases.failed(phone);
  switch (kind) {
    case 'confirm':
      return phrases.confirmed(when);
    case 'cancel':
      return phrases.cancelled(when);
    case 'move':
      return reason === PASSED_ON
        ? phrases.movePassedOn(when, phone)
        : phrases.moveBy(link ?? undefined, phone);
  }
}

function isRefusal(reason: string | null): reason is Refusal {
  return reason === 'over' || reason === 'moved' || reason === 'gone';
}

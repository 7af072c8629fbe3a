/** The limits of alerts as they are unless set. */
import type { Limits } from '../../src/domain/alert.ts';

export const LIMITS: Limits = {
  ...{ silent: 12, backlog: 120, dead_letters: 1, missed: 10, rejects: 100, marketplace: 5, unkept: 5 },
  ...{
    certificate: 14,
    api: 15,
    disk: 10,
    database: 60,
    provider: 50,
    account: 60,
    drift: 10,
    refused: 5,
    backup: 36,
  },
};

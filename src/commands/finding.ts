/** What `doctor` finds, one line each: sound, worth knowing, or to be mended, with what to do. */
export type Finding = {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'fault';
  readonly says: string;
};

export const ok = (check: string, says: string): Finding => ({ check, state: 'ok', says });
export const note = (check: string, says: string): Finding => ({ check, state: 'note', says });
export const fault = (check: string, says: string): Finding => ({ check, state: 'fault', says });

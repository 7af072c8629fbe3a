/** The option `--faults` of `demo` and `simulate`. */
import { PlainError } from '../log.ts';
import { parseFaults } from '../simulator/faults.ts';

export function checkFaults(text: string): void {
  try {
    parseFaults(text);
  } catch (error) {
    throw new PlainError(`--faults: ${error instanceof Error ? error.message : String(error)}`);
  }
}

import type { Context } from './run.ts';
export async function simulate(_context: Context): Promise<void> {}

import type { Context } from './run.ts';
export async function demo(_context: Context): Promise<void> {}

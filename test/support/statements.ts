/** Every statement that this process sends to PostgreSQL while something is done. */
import pg from 'pg';

export type Statement = { readonly name: string; readonly text: string };

export async function statementsOf(work: () => Promise<void>): Promise<Statement[]> {
  const statements: Statement[] = [];
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (this: pg.Client, ...given: unknown[]) {
    const [first] = given;
    const { name = '', text = '' } =
      typeof first === 'object' ? (first as Partial<Statement>) : { text: String(first) };
    statements.push({ name, text });
    return Reflect.apply(query, this, given);
  } as typeof query;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = query;
  }
  return statements;
}

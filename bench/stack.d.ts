// The few shapes of the compared stack that the benchmarks use. Declared here so that the project's type
// check says the same whether bench/node_modules is installed or not.

declare module 'express' {
  interface Request {
    readonly query: Record<string, unknown>;
    readonly body: unknown;
  }
  interface Response {
    status(code: number): Response;
    json(body: unknown): Response;
  }
  type Handler = (request: Request, response: Response) => Promise<void> | void;
  interface Application {
    use(middleware: unknown): void;
    get(path: string, handler: Handler): void;
    post(path: string, handler: Handler): void;
    listen(port: number, host: string, listening: (error?: Error) => void): void;
  }
  export function json(): unknown;
  const express: () => Application;

  // biome-ignore lint/style/noDefaultExport: the package's own shape
  export { express as default };
}

declare module 'bullmq' {
  interface JobOptions {
    attempts?: number;
    backoff?: { type: 'fixed' | 'exponential'; delay: number };
    removeOnComplete?: boolean;
  }
  export class Queue {
    constructor(name: string, options: { connection: { host: string; port: number } });
    add(name: string, data: unknown, options?: JobOptions): Promise<unknown>;
  }
}

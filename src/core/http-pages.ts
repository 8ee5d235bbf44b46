import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { describeError, IsthmusError } from './errors.ts';
import type { ListenAddress } from './listen-address.ts';

/** A page: what to answer at a path. */
export type Page = () => HttpAnswer | Promise<HttpAnswer>;

export interface HttpAnswer {
  readonly status?: number;
  readonly contentType?: string;
  readonly body: string;
}

/** A small HTTP listener for probes and monitoring: GET only, no state. Closed by disposing it. */
export class HttpPages implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws ISTHMUS_CONFIG_INVALID when the address cannot be had. */
  static async listen(address: ListenAddress, pages: Readonly<Record<string, Page>>): Promise<HttpPages> {
    const server = createServer((request, response) => void answer(pages, request, response));
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    server.once('error', reject);
    server.listen(address, () => resolve(undefined));
    try {
      await promise;
    } catch (error) {
      throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `cannot listen on ${address.host}:${address.port}`, { cause: error });
    }
    return new HttpPages(server);
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

async function answer(pages: Readonly<Record<string, Page>>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // A target that is no path, such as `//`, is of no page; an exception would end the process.
  const path = URL.parse(request.url ?? '/', 'http://localhost')?.pathname ?? '';
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  const { status = 200, contentType = 'text/plain; charset=utf-8', body } = await produce(request.method, page);
  response.writeHead(status, { 'content-type': contentType }).end(body);
}

async function produce(method: string | undefined, page: Page | undefined): Promise<HttpAnswer> {
  if (page === undefined) return { status: 404, body: 'not found\n' };
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'GET only\n' };
  try {
    return await page();
  } catch (error) {
    // An exception here would end the process.
    return { status: 500, body: `${describeError(error)}\n` };
  }
}

/** A page of JSON. */
export function jsonAnswer(value: unknown): HttpAnswer {
  return { contentType: 'application/json', body: `${JSON.stringify(value, undefined, 1)}\n` };
}

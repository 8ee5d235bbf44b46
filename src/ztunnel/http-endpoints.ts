import { once } from 'node:events';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** What one path answers; `method` other than the given ones gets 405. */
export interface Endpoint {
  readonly method: 'GET' | 'POST';
  readonly handle: (request: { readonly query: URLSearchParams }) => {
    readonly status?: number;
    readonly type?: string;
    readonly body: string;
  };
}

/**
 * A small HTTP/1.1 server for probes, metrics and debugging: short requests without bodies, one answer each. Not for
 * anything that carries traffic.
 */
export class HttpEndpoints implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(options: {
    readonly host: string;
    readonly port: number;
    readonly paths: Readonly<Record<string, Endpoint>>;
  }): Promise<HttpEndpoints> {
    const server = http.createServer({ headersTimeout: 2_000, requestTimeout: 5_000, maxHeaderSize: 8_192 }, (request, response) => {
      answer(options.paths, request, response);
    });
    server.listen({ host: options.host, port: options.port });
    await once(server, 'listening');
    return new HttpEndpoints(server);
  }

  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    return Promise.resolve();
  }
}

function answer(paths: Readonly<Record<string, Endpoint>>, request: IncomingMessage, response: ServerResponse): void {
  // A target that is no path, such as `//`, is no endpoint's; an exception would end the process.
  const url = URL.parse(request.url ?? '/', 'http://localhost');
  const endpoint = url !== null && Object.hasOwn(paths, url.pathname) ? paths[url.pathname] : undefined;
  if (url === null || endpoint === undefined) send(response, 404, 'not found\n');
  else if (request.method !== endpoint.method) send(response, 405, 'method not allowed\n');
  else {
    const { status = 200, type, body } = endpoint.handle({ query: url.searchParams });
    send(response, status, body, type);
  }
}

function send(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}

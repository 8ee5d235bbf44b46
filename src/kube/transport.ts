import http from 'node:http';
import https from 'node:https';

import type { Status } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';
import { KubeApiError } from './api-error.ts';
import type { ClientConfig } from './config.ts';

export interface RawRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, beginning with `/`. */
  readonly path: string;
  readonly body?: unknown;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Default `application/json`. */
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  /** Longest silence before the answer begins, milliseconds; default 30,000. */
  readonly timeout?: number;
}

/** HTTP to one API server, with kept-alive connections and the configuration's credentials on each request. */
export class Transport implements Disposable {
  readonly config: ClientConfig;
  readonly #agent: http.Agent;
  readonly #url: URL;

  constructor(config: ClientConfig) {
    this.config = config;
    this.#url = new URL(config.server);
    const { ca, cert, key, tlsServerName } = config;
    this.#agent =
      this.#url.protocol === 'http:'
        ? new http.Agent({ keepAlive: true })
        : new https.Agent({
            keepAlive: true,
            minVersion: 'TLSv1.2',
            ...(ca !== undefined && { ca }),
            ...(cert !== undefined && { cert }),
            ...(key !== undefined && { key }),
            ...(tlsServerName !== undefined && { servername: tlsServerName }),
          });
  }

  /**
   * Sends one request and resolves with the answer as soon as its head is there. Throws KubeApiError for an error status,
   * KUBE_UNREACHABLE when no answer comes.
   */
  async open(request: RawRequest): Promise<http.IncomingMessage> {
    const body = request.body === undefined ? undefined : typeof request.body === 'string' ? request.body : JSON.stringify(request.body);
    const response = await this.#send(request, body);
    if ((response.statusCode ?? 0) < 400) return response;
    const text = await readAll(response);
    throw new KubeApiError(`${request.method} ${request.path.split('?')[0] ?? ''}`, response.statusCode ?? 0, parseStatus(text, response));
  }

  /** Sends one request and parses the JSON answer; undefined for an empty one. */
  async json(request: RawRequest): Promise<unknown> {
    const text = await readAll(await this.open(request));
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }

  /** The headers that prove who one is. */
  credentials(): Record<string, string> {
    const token = this.config.token?.();
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #send(request: RawRequest, body: string | undefined): Promise<http.IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const client = this.#url.protocol === 'http:' ? http : https;
    const outgoing = client.request({
      agent: this.#agent,
      host: this.#url.hostname.replace(/^\[|\]$/g, ''),
      port: this.#url.port === '' ? (this.#url.protocol === 'http:' ? 80 : 443) : Number(this.#url.port),
      method: request.method,
      path: `${this.#url.pathname === '/' ? '' : this.#url.pathname}${request.path}`,
      headers: {
        accept: request.accept ?? 'application/json',
        'user-agent': 'isthmus',
        ...this.credentials(),
        ...(body !== undefined && { 'content-type': request.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
      ...(request.signal && { signal: request.signal }),
    });
    const timeout = request.timeout ?? 30_000;
    outgoing.setTimeout(timeout, () => {
      outgoing.destroy(new Error(`no answer within ${String(timeout)} ms`));
    });
    outgoing.once('response', (response) => {
      outgoing.setTimeout(0);
      resolve(response);
    });
    outgoing.once('error', (error) => {
      const reason: unknown = request.signal?.aborted === true ? request.signal.reason : undefined;
      if (reason instanceof Error) {
        reject(reason);
        return;
      }
      const message = `the API server at ${this.config.server} cannot be reached`;
      reject(
        new IsthmusError('KUBE_UNREACHABLE', message, { hint: 'check the address, the network and that the cluster runs', cause: error }),
      );
    });
    outgoing.end(body);
    return promise;
  }
}

/** The whole text of an answer. */
export async function readAll(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function parseStatus(text: string, response: http.IncomingMessage): Status {
  try {
    const parsed = JSON.parse(text) as Partial<Status>;
    if (parsed.kind === 'Status') return parsed as Status;
  } catch {
    // Not the API's own body: a proxy's, perhaps. The text tells the reader more than a parse error.
  }
  return {
    kind: 'Status',
    apiVersion: 'v1',
    message: text.trim() || `HTTP ${String(response.statusCode)}`,
    code: response.statusCode ?? 0,
  };
}

import http from 'node:http';
import https from 'node:https';

import type { Status } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';
import { KubeApiError } from './api-error.ts';
import type { ClientConfig } from './config.ts';
import type { Credentials } from './credentials.ts';

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
  readonly #guard: (() => void) | undefined;
  /** The certificate that the last request was sent with. */
  #cert: string | undefined;

  constructor(config: ClientConfig, shared: { readonly agent?: http.Agent; readonly guard?: () => void } = {}) {
    this.config = config;
    this.#url = new URL(config.server);
    this.#guard = shared.guard;
    const { ca, tlsServerName } = config;
    this.#agent =
      shared.agent ??
      (this.#url.protocol === 'http:'
        ? new http.Agent({ keepAlive: true })
        : new https.Agent({
            keepAlive: true,
            minVersion: 'TLSv1.2',
            ...(ca !== undefined && { ca }),
            ...(tlsServerName !== undefined && { servername: tlsServerName }),
          }));
  }

  /** The same connections; `guard` is called right before each request that may change something, and its throw is the request's. */
  guardedBy(guard: () => void): Transport {
    return new Transport(this.config, { agent: this.#agent, guard });
  }

  /**
   * Sends one request and resolves with the answer as soon as its head is there. Once more after a 401, when there are newer
   * credentials: the server has done nothing then. Throws KubeApiError for an error status, KUBE_UNREACHABLE when no answer comes,
   * and what the configuration's source of credentials throws.
   */
  async open(request: RawRequest): Promise<http.IncomingMessage> {
    const body = request.body === undefined ? undefined : typeof request.body === 'string' ? request.body : JSON.stringify(request.body);
    const credentials = await this.credentials(request.signal);
    let response = await this.#send(request, body, credentials);
    if (response.statusCode === 401 && this.config.credentials !== undefined) {
      const newer = await this.#replace(response, credentials, request.signal);
      if (newer !== undefined) {
        response.resume();
        response = await this.#send(request, body, newer);
      }
    }
    if ((response.statusCode ?? 0) < 400) return response;
    const text = await readAll(response);
    throw new KubeApiError(`${request.method} ${request.path.split('?')[0] ?? ''}`, response.statusCode ?? 0, parseStatus(text, response));
  }

  /** Sends one request and parses the JSON answer; undefined for an empty one. */
  async json(request: RawRequest): Promise<unknown> {
    const text = await readAll(await this.open(request));
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }

  /** What proves who one is, for a request that is sent now; a certificate belongs to the connection. */
  async credentials(signal?: AbortSignal): Promise<Credentials> {
    const { credentials, token, cert, key } = this.config;
    if (credentials !== undefined) return await credentials.current(signal);
    return {
      ...(token !== undefined && { token: token() }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #replace(response: http.IncomingMessage, refused: Credentials, signal: AbortSignal | undefined): Promise<Credentials | undefined> {
    try {
      return await this.config.credentials?.replace(refused, signal);
    } catch (error) {
      response.destroy();
      throw error;
    }
  }

  /** Connections of an earlier certificate end once they are idle: no request would ever take them. */
  #useCertificate(cert: string | undefined): void {
    if (cert === this.#cert) return;
    this.#cert = cert;
    for (const socket of Object.values(this.#agent.freeSockets).flat()) socket?.destroy();
  }

  #send(request: RawRequest, body: string | undefined, { token, cert, key }: Credentials): Promise<http.IncomingMessage> {
    if (request.method !== 'GET') this.#guard?.();
    this.#useCertificate(cert);
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
        ...authorization(token),
        ...(body !== undefined && { 'content-type': request.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
      // The agent keeps connections apart by these.
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
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

/** The header of a bearer token, if there is one. */
export function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
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

import { mkdtemp, rm } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { HistoryWindow } from '../storage/bucket.ts';
import { ensureClusterPki, runApiServer, type ClusterPki } from '../index.ts';

/** An answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly warnings: readonly string[];
  readonly text: string;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Without the administrator's certificate. */
  readonly anonymous?: boolean;
}

/** A real API server on a free port of the loopback interface, with a state directory of its own. */
export class TestServer implements AsyncDisposable {
  readonly port: number;
  readonly pki: ClusterPki;
  readonly stateDir: string;
  readonly #stop: AbortController;
  readonly #running: Promise<void>;
  readonly #agents: { readonly admin: https.Agent; readonly anonymous: https.Agent };

  private constructor(options: { port: number; pki: ClusterPki; stateDir: string; stop: AbortController; running: Promise<void> }) {
    this.port = options.port;
    this.pki = options.pki;
    this.stateDir = options.stateDir;
    this.#stop = options.stop;
    this.#running = options.running;
    const { ca, admin } = options.pki;
    this.#agents = {
      admin: new https.Agent({ ca, cert: admin.certificate, key: admin.key, keepAlive: true }),
      anonymous: new https.Agent({ ca, keepAlive: true }),
    };
  }

  /** `stateDir`: one that an earlier server left; a new one by default. `port`: default a free one. */
  static async start(
    options: { stateDir?: string; port?: number; history?: HistoryWindow; bookmarkEvery?: number } = {},
  ): Promise<TestServer> {
    const stateDir = options.stateDir ?? (await mkdtemp(path.join(tmpdir(), 'apiserver-')));
    const stop = new AbortController();
    const { promise: ready, resolve, reject } = Promise.withResolvers<number>();
    // The kubeconfigs name the port, so it is chosen before: a second call changes them alone.
    let pki = await ensureClusterPki({ stateDir, clusterName: 'test', nodeName: 'test-control-plane', addresses: ['127.0.0.1'] });
    const running = runApiServer(
      {
        stateDir,
        host: '127.0.0.1',
        port: options.port ?? 0,
        serviceCidr: '10.96.0.0/16',
        ...(options.history !== undefined && { history: options.history }),
        ...(options.bookmarkEvery !== undefined && { bookmarkEvery: options.bookmarkEvery }),
        onReady: ({ port }) => resolve(port),
      },
      stop.signal,
    );
    running.catch(reject);
    const port = await ready;
    pki = await ensureClusterPki({ stateDir, clusterName: 'test', nodeName: 'test-control-plane', addresses: ['127.0.0.1'], port });
    return new TestServer({ port, pki, stateDir, stop, running });
  }

  async call({ method, path: url, headers, body, anonymous = false }: Call): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const agent = anonymous ? this.#agents.anonymous : this.#agents.admin;
    const request = https.request({
      host: '127.0.0.1',
      port: this.port,
      method,
      path: url,
      agent,
      headers: { accept: 'application/json', ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }), ...headers },
    });
    request.once('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          warnings: response.headersDistinct['warning'] ?? [],
          text: Buffer.concat(chunks).toString('utf8'),
        });
      });
    });
    request.end(body);
    return await promise;
  }

  /** Sends and reads JSON; `body` absent sends none. */
  async json(
    method: string,
    url: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; body: unknown }> {
    const answer = await this.call({
      method,
      path: url,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: answer.contentType.includes('json') ? (JSON.parse(answer.text) as unknown) : answer.text };
  }

  /** Stops the server and leaves its state directory. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#agents.admin.destroy();
    this.#agents.anonymous.destroy();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}

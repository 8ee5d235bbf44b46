import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { ensureClusterPki, runApiServer } from '../../src/lab/apiserver/index.ts';
import { freePort, RealApiServer } from './real-api-server.ts';

/** A Kubernetes API server of a test's own, on loopback. Disposing of it removes its state. */
export interface ApiServer extends AsyncDisposable {
  readonly stateDir: string;
  readonly port: number;
  /** Of its administrator. */
  readonly kubeconfig: string;
  /** Ends it, keeping its state; resolves when it has ended. */
  stop(): Promise<void>;
  /** On the same port and state; resolves when requests are answered. */
  start(): Promise<void>;
  /** All requests that it has answered so far, watches that go on left out. */
  audited(): Promise<readonly AuditedRequest[]>;
}

/** One line of the audit log: who asked for what, and what came of it. */
export interface AuditedRequest {
  readonly user: { readonly username: string };
  readonly verb: string;
  readonly requestURI: string;
  readonly requestReceivedTimestamp?: string;
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource: string;
    readonly apiGroup?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly subresource?: string;
  };
  readonly annotations?: Readonly<Record<string, string>>;
  readonly responseStatus?: { readonly code: number; readonly message?: string };
}

export interface ApiServerOptions {
  readonly stateDir: string;
  /** Also the context of the kubeconfig. */
  readonly name: string;
  /** Default a free one. */
  readonly port?: number | undefined;
  readonly serviceCidr: string;
}

/** The lab's API server, or a real one from KUBEBUILDER_ASSETS. */
export type ApiServerKind = 'lab' | 'real';

/** What tests that run on either are told to use: `npm run test:interop` says `real`. */
const preferred: ApiServerKind = process.env['ISTHMUS_TEST_API_SERVER'] === 'real' ? 'real' : 'lab';

/** Starts one with a state directory of its own, or on one that an earlier one left. */
export async function startApiServer(
  options: Partial<ApiServerOptions> & { readonly kind?: ApiServerKind | undefined } = {},
): Promise<ApiServer> {
  const { kind = preferred, name = 'test', serviceCidr = '10.96.0.0/16', port } = options;
  const stateDir = options.stateDir ?? (await mkdtemp(path.join(tmpdir(), `isthmus-${name}-`)));
  const start = kind === 'real' ? RealApiServer.start : LabApiServer.start;
  return await start({ stateDir, name, serviceCidr, port });
}

class LabApiServer implements ApiServer {
  readonly stateDir: string;
  readonly port: number;
  readonly kubeconfig: string;
  readonly #serviceCidr: string;
  readonly #audited: AuditedRequest[] = [];
  #running: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;

  private constructor(options: { stateDir: string; port: number; kubeconfig: string; serviceCidr: string }) {
    this.stateDir = options.stateDir;
    this.port = options.port;
    this.kubeconfig = options.kubeconfig;
    this.#serviceCidr = options.serviceCidr;
  }

  static async start(options: ApiServerOptions): Promise<LabApiServer> {
    const { stateDir, name, serviceCidr } = options;
    const port = options.port ?? (await freePort());
    const pki = await ensureClusterPki({ stateDir, clusterName: name, nodeName: 'node-1', addresses: ['127.0.0.1'], port });
    const server = new LabApiServer({ stateDir, port, kubeconfig: pki.files.adminKubeconfig, serviceCidr });
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return;
    const stop = new AbortController();
    const { promise: ready, resolve } = Promise.withResolvers<unknown>();
    const at = { stateDir: this.stateDir, host: '127.0.0.1', port: this.port, serviceCidr: this.#serviceCidr };
    const audit = (request: AuditedRequest): unknown => this.#audited.push(request);
    const ended = runApiServer({ ...at, audit, onReady: resolve }, stop.signal);
    this.#running = { stop, ended };
    await Promise.race([ready, ended]);
  }

  async stop(): Promise<void> {
    this.#running?.stop.abort();
    await this.#running?.ended;
    this.#running = undefined;
  }

  audited(): Promise<readonly AuditedRequest[]> {
    return Promise.resolve(this.#audited);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}

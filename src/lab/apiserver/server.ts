import { readFile } from 'node:fs/promises';
import https from 'node:https';
import type { Socket } from 'node:net';
import path from 'node:path';

import { aborted, createLogger, IsthmusError } from '../../core/index.ts';
import { ServiceAddresses } from './admission/service-addresses.ts';
import { Rbac } from './auth/rbac.ts';
import { ServiceAccountTokens } from './auth/tokens.ts';
import { bootstrap } from './bootstrap.ts';
import { CustomResources } from './custom-resources.ts';
import { KubeletProxy } from './http/kubelet-proxy.ts';
import { RequestHandler, type AuditEvent } from './http/request-handler.ts';
import { clusterPkiFiles } from './pki/files.ts';
import { Registry } from './registry.ts';
import type { Cluster } from './rest/cluster.ts';
import type { HistoryWindow } from './storage/bucket.ts';
import { Store } from './storage/store.ts';

export interface ApiServerOptions {
  /** Keys (`pki/`, made by ensureClusterPki) and the database (`state.db`) are here. */
  readonly stateDir: string;
  /** Where to listen. Port 0 takes a free one. */
  readonly host: string;
  readonly port: number;
  /** Inherited listening sockets that are served as well: the host's loopback. */
  readonly listenFds?: readonly number[];
  /** Where Services get their ClusterIPs from, such as 10.255.10.0/24; its first address is the API server's own. */
  readonly serviceCidr: string;
  /** Address of the endpoint behind the Service `kubernetes`; default `host`. */
  readonly advertiseAddress?: string;
  /** How far back watches can start; default as {@link Store} has it. */
  readonly history?: HistoryWindow;
  /** How often watches that want bookmarks get one, milliseconds; default a minute. */
  readonly bookmarkEvery?: number;
  /** Hears of every request of a known user when its answer, or the watch, has ended. */
  readonly audit?: (event: AuditEvent) => void;
  /** Called once requests are answered. */
  readonly onReady?: (address: { readonly host: string; readonly port: number }) => void;
}

/** The audience of tokens for the API server itself, and who signs them. */
const issuer = 'https://kubernetes.default.svc.cluster.local';

/**
 * Runs a Kubernetes API server until the signal is aborted. Throws LAB_APISERVER_LISTEN when it cannot listen, and what the file
 * system says about a state directory without a PKI.
 */
export async function runApiServer(options: ApiServerOptions, signal: AbortSignal): Promise<void> {
  const log = createLogger('apiserver');
  const keys = await readKeys(options.stateDir);
  using store = new Store({
    path: path.join(options.stateDir, 'state.db'),
    ...(options.history !== undefined && { window: options.history }),
  });
  const cluster: Cluster = {
    store,
    registry: new Registry(),
    serviceAddresses: new ServiceAddresses(store, options.serviceCidr),
    bookmarkEvery: options.bookmarkEvery ?? 60_000,
    now: () => Date.now(),
  };
  const tokens = new ServiceAccountTokens({ store, key: keys.serviceAccountKey, issuer });
  using kubelets = new KubeletProxy(store, { ca: keys.ca, cert: keys.kubeletClient, key: keys.kubeletClientKey });
  const advertised = options.advertiseAddress ?? options.host;

  const servers: Served[] = [];
  try {
    // The port may be chosen by the system, and objects and answers name it: no request is read before the handler is there.
    const { promise: handler, resolve: answerWith } = Promise.withResolvers<RequestHandler>();
    const serve = async (target: ListenTarget): Promise<number> => {
      const server = createServer(keys, handler);
      servers.push({ close: closing(server) });
      return await listening(server, target);
    };
    const port = await serve({ port: options.port, host: options.host });
    new CustomResources(cluster).start();
    bootstrap(cluster, { address: advertised, port });
    const { audit } = options;
    answerWith(
      new RequestHandler({ cluster, rbac: new Rbac(store), tokens, kubelets, serverAddress: `${advertised}:${port}`, audit, log }),
    );
    for (const fd of options.listenFds ?? []) await serve({ fd });
    log.info({ host: options.host, port, version: store.version }, 'serving');
    options.onReady?.({ host: options.host, port });
    await aborted(signal);
  } finally {
    await Promise.all(servers.map(({ close }) => close()));
  }
}

type Keys = Readonly<Record<'ca' | 'apiserver' | 'apiserverKey' | 'kubeletClient' | 'kubeletClientKey' | 'serviceAccountKey', string>>;

async function readKeys(stateDir: string): Promise<Keys> {
  const files = clusterPkiFiles(stateDir);
  const read = async (name: keyof Keys): Promise<string> => await readFile(files[name], 'utf8');
  return {
    ca: await read('ca'),
    apiserver: await read('apiserver'),
    apiserverKey: await read('apiserverKey'),
    kubeletClient: await read('kubeletClient'),
    kubeletClientKey: await read('kubeletClientKey'),
    serviceAccountKey: await read('serviceAccountKey'),
  };
}

function createServer(keys: Keys, handler: Promise<RequestHandler>): https.Server {
  const server = https.createServer(
    {
      ca: keys.ca,
      cert: keys.apiserver,
      key: keys.apiserverKey,
      // Who shows no certificate of the cluster's may have a token, or is nobody in particular.
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      keepAliveTimeout: 90_000,
    },
    (request, response) => {
      void handler.then((ready) => ready.handle(request, response));
    },
  );
  server.on('upgrade', (request, socket, head: Buffer) => {
    void handler.then((ready) => ready.upgrade(request, socket, head));
  });
  return server;
}

interface Served {
  /** Ends every connection and resolves once none is left and nothing listens. */
  readonly close: () => Promise<void>;
}

/**
 * A server's own `closeAllConnections` knows neither those that are in the middle of their TLS handshake, which would become
 * requests after the end, nor those that were upgraded.
 */
function closing(server: https.Server): () => Promise<void> {
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  return async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    // One that never listened is closed as well: the error says only that.
    server.close(() => resolve(undefined));
    for (const socket of connections) socket.destroy();
    await promise;
  };
}

type ListenTarget = { readonly port: number; readonly host: string } | { readonly fd: number };

/** Resolves with the port. */
async function listening(server: https.Server, target: ListenTarget): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  server.once('error', (cause) => reject(new IsthmusError('LAB_APISERVER_LISTEN', 'the API server cannot listen', { cause })));
  server.listen(target, () => resolve(undefined));
  await promise;
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

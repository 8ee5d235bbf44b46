import { readFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';

import { aborted, createLogger, IsthmusError } from '../../core/index.ts';
import { ServiceAddresses } from './admission/service-addresses.ts';
import { Rbac } from './auth/rbac.ts';
import { ServiceAccountTokens } from './auth/tokens.ts';
import { bootstrap } from './bootstrap.ts';
import { CustomResources } from './custom-resources.ts';
import { KubeletProxy } from './http/kubelet-proxy.ts';
import { RequestHandler } from './http/request-handler.ts';
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
  const files = clusterPkiFiles(options.stateDir);
  const read = async (file: string): Promise<string> => await readFile(file, 'utf8');
  const [ca, cert, key, kubeletCert, kubeletKey, tokenKey] = await Promise.all(
    [files.ca, files.apiserver, files.apiserverKey, files.kubeletClient, files.kubeletClientKey, files.serviceAccountKey].map(read),
  );
  if (ca === undefined || cert === undefined || key === undefined || tokenKey === undefined) return;
  if (kubeletCert === undefined || kubeletKey === undefined) return;

  using store = new Store({
    path: path.join(options.stateDir, 'state.db'),
    ...(options.history !== undefined && { window: options.history }),
  });
  const serviceAddresses = new ServiceAddresses(store, options.serviceCidr);
  const cluster: Cluster = {
    store,
    registry: new Registry(),
    serviceAddresses,
    bookmarkEvery: options.bookmarkEvery ?? 60_000,
    now: () => Date.now(),
  };
  const tokens = new ServiceAccountTokens({ store, key: tokenKey, issuer });
  new CustomResources(cluster).start();
  using kubelets = new KubeletProxy(store, { ca, cert: kubeletCert, key: kubeletKey });

  const tls: https.ServerOptions = {
    ca,
    cert,
    key,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
  };
  let handler: RequestHandler | undefined;
  const servers: https.Server[] = [];
  const serve = (listen: (server: https.Server) => void): Promise<https.Server> => {
    const server = https.createServer({ ...tls, keepAliveTimeout: 90_000 }, (request, response) => {
      void handler?.handle(request, response);
    });
    server.on('upgrade', (request, socket, head: Buffer) => {
      void handler?.upgrade(request, socket, head);
    });
    servers.push(server);
    const { promise, resolve, reject } = Promise.withResolvers<https.Server>();
    server.once('error', (error) => reject(new IsthmusError('LAB_APISERVER_LISTEN', 'the API server cannot listen', { cause: error })));
    server.once('listening', () => resolve(server));
    listen(server);
    return promise;
  };
  try {
    const main = await serve((server) => server.listen(options.port, options.host));
    const port = portOf(main);
    const advertised = options.advertiseAddress ?? options.host;
    bootstrap(cluster, { address: advertised, port });
    const serverAddress = `${advertised}:${String(port)}`;
    handler = new RequestHandler({ cluster, rbac: new Rbac(store), tokens, kubelets, serverAddress, log });
    for (const fd of options.listenFds ?? []) await serve((server) => server.listen({ fd }));
    log.info({ host: options.host, port, version: store.version }, 'serving');
    options.onReady?.({ host: options.host, port });
    await aborted(signal);
  } finally {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  }
}

function portOf(server: https.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

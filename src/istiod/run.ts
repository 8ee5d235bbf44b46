import { Registry } from 'prom-client';

import { version } from '../api/version.ts';
import { aborted, createLogger, describeError, HttpPages, jsonAnswer, Parts, retry, type Logger, type Page } from '../core/index.ts';
import { Graph } from '../collections/index.ts';
import { EventRecorder, leadWhileElected, type KubeClient } from '../kube/index.ts';
import { deriveMesh } from '../mesh/index.ts';
import { Peering } from '../peering/index.ts';
import { GrpcServer } from '../xds/index.ts';
import { AuthoritySource } from './authority.ts';
import { watchCluster } from './cluster.ts';
import type { IstiodConfig } from './config.ts';
import { debugPages } from './debug.ts';
import { discoveryServices } from './discovery.ts';
import { reportFailure } from './failures.ts';
import { istiodMetrics } from './metrics.ts';
import { NodeAuthorizer } from './node-authorizer.ts';
import { ServingCertificate } from './serving-certificate.ts';
import { meshTables } from './tables.ts';
import { runWriters } from './writers.ts';

export interface IstiodOptions {
  readonly client: KubeClient;
  readonly config: IstiodConfig;
  readonly log?: Logger;
  /** Hears once that istiod is ready, with the ports that it listens on. */
  readonly onReady?: (listening: IstiodListening) => void;
}

export interface IstiodListening {
  readonly tlsPort: number;
  readonly plaintextPort: number;
  readonly monitoringPort: number;
}

/**
 * The control plane of one cluster, until the signal is aborted. It serves only after it has seen all of its inputs and
 * derived the mesh from them: a proxy never gets half of it. Readiness says the same to Kubernetes.
 */
export async function runIstiod(options: IstiodOptions, signal: AbortSignal): Promise<void> {
  const { client, config, log = createLogger('istiod') } = options;
  const { clusterId, clusterDomain, trustDomain, namespace } = config;
  let ready = false;
  await using resources = new AsyncDisposableStack();
  resources.use(
    await HttpPages.listen(config.listen.readiness, {
      '/ready': () => (ready ? { body: '' } : { status: 503, body: 'not all inputs are known yet\n' }),
    }),
  );
  const parts = resources.use(new Parts(signal, log));
  const running = parts.signal;

  const events = new EventRecorder({ client, component: 'istiod', log });
  const graph = new Graph({ onFailure: (failure) => reportFailure({ failure, inputs: cluster.inputs, events, log }) });
  const release = graph.hold();
  const cluster = watchCluster({ client, graph, log });
  const mesh = deriveMesh(graph, cluster.inputs, { clusterId, clusterDomain, trustDomain, rootNamespace: namespace });
  const registry = new Registry();
  const derived = Promise.withResolvers<undefined>();
  const peering = new Peering({
    clusterId,
    trustDomain,
    clusterDomain,
    rootNamespace: namespace,
    client,
    graph,
    inputs: cluster.inputs,
    synced: Promise.race([derived.promise, aborted(running)]),
    credentials: () => certificate.tls,
    authority: { fingerprint: () => authority.current.fingerprint, onChange: (handler) => authority.onChange(handler) },
    lead: (lead, until) =>
      leadWhileElected({ client, namespace, name: 'isthmus-peering-leader', identity: config.podName, log }, lead, until),
    registry,
    log,
  });
  const nodes = new NodeAuthorizer({ graph, pods: cluster.inputs.pods, trustedAccounts: config.trustedNodeAccounts });
  parts.start('cluster', (until) => cluster.run(until));
  const authority = await retry(
    () => AuthoritySource.open({ client, directory: config.authorityDirectory, namespace, trustDomain, log }, running),
    {
      initial: 500,
      max: 5_000,
      signal: running,
      onFailure: (error, wait) => log.warn({ error: describeError(error), retryMs: wait }, 'no authority'),
    },
  );
  parts.start('authority', (until) => authority.run(until));
  const certificate = await ServingCertificate.issue({ authority, config, log });
  parts.start('serving certificate', (until) => certificate.run(until));

  await Promise.race([cluster.synced, aborted(running), parts.failure]);
  if (running.aborted) return;
  release();
  derived.resolve(undefined);
  const { addresses, authorizations } = meshTables(mesh);
  const network = mesh.network.get(namespace)?.network ?? '';
  log.info({ clusterId, network, workloads: mesh.workloads.size, services: mesh.services.size }, 'mesh derived');

  const metrics = istiodMetrics({ registry, mesh, connections: () => xds.connections(), authority });
  const { xds, services } = discoveryServices({
    client,
    config,
    tables: [addresses, authorizations, ...peering.tables],
    peering,
    authority,
    nodes,
    onRefusedCaller: () => metrics.refusedCallers.inc(),
    onRejectedResponse: (type) => metrics.rejectedResponses.inc({ type }),
    log,
  });
  const secure = resources.use(await GrpcServer.listen({ ...services, tls: certificate.tls, ...config.listen.tls, log }));
  const plaintext = resources.use(await GrpcServer.listen({ ...services, ...config.listen.plaintext, log }));
  resources.defer(certificate.onChange(() => secure.setTls(certificate.tls)));
  const pages = Object.entries(debugPages({ mesh, xds, graph })).map(([path, page]): [string, Page] => [path, () => jsonAnswer(page())]);
  const monitoring = resources.use(
    await HttpPages.listen(config.listen.monitoring, {
      '/metrics': async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
      '/version': () => jsonAnswer({ version, clusterId }),
      ...Object.fromEntries(pages),
    }),
  );

  parts.start('writers', (until) => runWriters({ client, config, cluster, mesh, authority, events, log }, until));
  parts.start('peering', (until) => peering.run(until));
  ready = true;
  log.info({ clusterId, tls: secure.port, version }, 'ready');
  options.onReady?.({ tlsPort: secure.port, plaintextPort: plaintext.port, monitoringPort: monitoring.port });
  await Promise.race([aborted(running), parts.failure]);
  ready = false;
}

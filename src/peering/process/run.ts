import type { X509Certificate } from 'node:crypto';

import { Registry } from 'prom-client';

import { version } from '../../api/version.ts';
import { Graph } from '../../collections/index.ts';
import { aborted, createLogger, describeError, HttpPages, IsthmusError, jsonAnswer, Parts, sleep, type Logger } from '../../core/index.ts';
import { leadWhileElected, type KubeClient } from '../../kube/index.ts';
import { uriNames } from '../../pki/index.ts';
import { GrpcServer, XdsServer } from '../../xds/index.ts';
import { offerGatewayClasses } from '../gateways/classes.ts';
import { controlGateways } from '../gateways/controller.ts';
import { peeringOwner } from '../gateways/owner.ts';
import { Peering } from '../peering.ts';
import { CertificateSource } from './certificate.ts';
import { watchCluster, type WatchedCluster } from './cluster.ts';
import type { PeeringProcessConfig } from './config.ts';
import { processMetrics } from './metrics.ts';

export interface PeeringProcessOptions {
  readonly client: KubeClient;
  readonly config: PeeringProcessConfig;
  readonly log?: Logger;
  /** Hears once that the process is ready, with the ports that it listens on. */
  readonly onReady?: (listening: PeeringProcessListening) => void;
}

export interface PeeringProcessListening {
  readonly peeringPort: number;
  readonly monitoringPort: number;
  readonly readinessPort: number;
}

export const leaseName = 'isthmus-peering-leader';

/**
 * Peering beside an istiod of somebody else, until the signal is aborted: exports and the wire, imports, and, in the replica that holds the
 * Lease, everything that is written. It serves only after it has seen all of its inputs: a peer never gets half of them.
 */
export async function runPeeringProcess(options: PeeringProcessOptions, signal: AbortSignal): Promise<void> {
  const { client, config, log = createLogger('peering') } = options;
  let isServing = false;
  const missing = (): string[] => [
    ...(signal.aborted ? ['stopping'] : []),
    ...cluster.pending().map((kind) => `${kind} are not listed yet`),
    ...certificateMissing(certificate),
    ...(isServing ? [] : ['the peering wire is not served yet']),
  ];
  const ready = () => {
    const reasons = missing();
    return reasons.length === 0 ? { body: 'ready\n' } : { status: 503, body: `not ready:\n${reasons.join('\n')}\n` };
  };

  const graph = new Graph({
    onFailure: ({ collection, key, error }) => log.warn({ collection, key, error: describeError(error) }, 'object cannot be used'),
  });
  const release = graph.hold();
  const { network, namespace } = config;
  const cluster = watchCluster({ client, graph, network, namespace, log });
  const certificate = new CertificateSource(config, log);
  const registry = new Registry();

  await using held = new AsyncDisposableStack();
  const readiness = held.use(
    await HttpPages.listen(config.listen.readiness, { '/healthz': () => ({ body: 'ok\n' }), '/readyz': ready, '/ready': ready }),
  );
  log.info({ readiness: readiness.port }, 'probes answered');
  // Peers are served for a while after the stop began.
  const ended = new AbortController();
  const parts = held.use(new Parts(ended.signal, log));
  const running = parts.signal;

  const derived = Promise.withResolvers<undefined>();
  const peering = new Peering({
    clusterId: config.clusterId,
    trustDomain: config.trustDomain,
    clusterDomain: config.clusterDomain,
    rootNamespace: config.namespace,
    podRanges: config.podRanges,
    serviceRanges: config.serviceRanges,
    placement: 'serviceNamespace',
    createNamespaces: config.createNamespaces,
    linkedPeersOnly: config.linkedPeersOnly,
    leaseMs: config.peerLeaseMs,
    writeRate: config.writeRate,
    client,
    graph,
    inputs: cluster.inputs,
    synced: Promise.race([derived.promise, aborted(running)]),
    credentials: () => certificate.current,
    authority: { fingerprint: () => certificate.authority, onChange: (handler) => certificate.onChange(handler) },
    lead: (write, until) =>
      leadWhileElected(
        {
          client,
          namespace,
          name: leaseName,
          identity: config.podName,
          log,
          leaseMs: config.leaseMs,
          renewDeadlineMs: config.renewDeadlineMs,
          retryMs: config.retryMs,
        },
        async (leading, writing) => {
          await Promise.all([write(leading, writing), runGateways({ client: writing, config, cluster, peering, log }, leading)]);
        },
        AbortSignal.any([until, signal]),
      ),
    registry,
    log,
  });
  parts.start('cluster', (until) => cluster.run(until));
  parts.start('certificate', (until) => certificate.run(until));
  const monitoring = held.use(
    await HttpPages.listen(config.listen.monitoring, {
      '/metrics': async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
      '/version': () => jsonAnswer({ version, clusterId: config.clusterId }),
      '/healthz': () => ({ body: 'ok\n' }),
      '/readyz': ready,
    }),
  );

  const stopped = Promise.race([aborted(signal), parts.failure]);
  await Promise.race([Promise.all([cluster.synced, certificate.first]), stopped]);
  if (signal.aborted) return;
  release();
  derived.resolve(undefined);
  const site = peering.exports.site.get(namespace);
  log.info({ clusterId: config.clusterId, network: site?.network ?? '', services: peering.exports.services.size }, 'exports derived');

  const { server, xds } = await serve({ config, certificate, peering, log });
  held.use(server);
  processMetrics({ registry, clusterId: config.clusterId, connections: () => [...xds.connections()].length, certificate });
  parts.start('peering', (until) => peering.run(until));
  isServing = true;
  const listening = { peeringPort: server.port, monitoringPort: monitoring.port, readinessPort: readiness.port };
  const { clusterId } = config;
  log.info({ clusterId, port: server.port, monitoring: monitoring.port, readiness: readiness.port, version }, 'ready');
  options.onReady?.(listening);
  await stopped;
  // The Lease is given up at once. Whoever still finds this replica by its Service is served until nobody does.
  await Promise.race([sleep(config.drainMs), parts.failure]);
  ended.abort();
}

function certificateMissing(certificate: CertificateSource): string[] {
  try {
    return certificate.current.authority === '' ? ['no authority'] : [];
  } catch (error) {
    return [describeError(error)];
  }
}

/** The wire: delta ADS for peers, who have to show a certificate under our roots. */
async function serve(options: {
  readonly config: PeeringProcessConfig;
  readonly certificate: CertificateSource;
  readonly peering: Peering;
  readonly log: Logger;
}): Promise<{ readonly server: GrpcServer; readonly xds: XdsServer<{ readonly certificate: X509Certificate }> }> {
  const { config, certificate, peering, log } = options;
  const xds = new XdsServer<{ readonly certificate: X509Certificate }>({
    tables: peering.tables,
    authenticate: ({ peerCertificate, remoteAddress, certificateError }) => {
      if (peerCertificate !== undefined) return { certificate: peerCertificate };
      throw new IsthmusError('PEERING_CALLER', `caller at ${remoteAddress}: ${certificateError ?? 'no client certificate'}`);
    },
    authorize: ({ caller, typeUrl }) =>
      peering.serves(typeUrl) ? peering.authorize(caller.certificate) : `PEERING_CALLER: ${typeUrl} is not for peers`,
    onRejected: ({ node }, typeUrl, message) => log.warn({ peer: node?.id ?? '', typeUrl, error: message }, 'response refused by peer'),
    onConnect: ({ id, caller, remoteAddress }) =>
      log.info({ connection: id, identity: uriNames(caller.certificate)[0] ?? '', remoteAddress }, 'peer connected'),
    onDisconnect: ({ id, node }) => log.info({ connection: id, peer: node?.id ?? '' }, 'peer gone'),
    log,
  });
  const server = await GrpcServer.listen({
    methods: [xds.method],
    tls: certificate.current,
    requireClientCertificate: true,
    ...config.listen.peering,
    log,
  });
  certificate.onChange(() => server.setTls(certificate.current));
  return { server, xds };
}

async function runGateways(
  options: {
    readonly client: KubeClient;
    readonly config: PeeringProcessConfig;
    readonly cluster: WatchedCluster;
    readonly peering: Peering;
    readonly log: Logger;
  },
  leading: AbortSignal,
): Promise<void> {
  const { client, config, cluster, peering, log } = options;
  const { informers } = cluster;
  await Promise.all([
    offerGatewayClasses({ client, gatewayClasses: informers.gatewayClasses, owner: peeringOwner, log }, leading),
    controlGateways(
      {
        client,
        informers,
        owner: peeringOwner,
        config,
        network: () => peering.exports.site.get(config.namespace)?.network ?? '',
        onNetworkChanged: (handler) => peering.exports.site.subscribe(handler),
        log,
      },
      leading,
    ),
  ]);
}

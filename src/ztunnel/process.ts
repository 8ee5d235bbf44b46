import { aborted, createLogger, describeError, runUntilStopped, type Logger } from '../core/index.ts';
import { NetworkNamespace } from '../linux/index.ts';
import { AccessLog } from './access-log.ts';
import { listenAdmin } from './admin.ts';
import { Certificates } from './certificates.ts';
import { configDump } from './config-dump.ts';
import type { ZtunnelConfig } from './config.ts';
import { ConnectionTracker } from './connections.ts';
import { meshClient, signer } from './control-plane.ts';
import { openMetricsContentType } from './exposition.ts';
import { judgeBuffersByHeap } from './garbage.ts';
import { HttpEndpoints } from './http-endpoints.ts';
import { startDns } from './dns/index.ts';
import { runInPod } from './inpod/index.ts';
import { parseLocalState, readLocalState } from './local-state.ts';
import { ZtunnelMetrics } from './metrics.ts';
import { startPodProxy, type PodProxy, type PodProxyOptions, type ProxyContext } from './proxy.ts';
import { Readiness } from './readiness.ts';
import { MeshState } from './state/mesh-state.ts';
import { workloadIdentity } from './state/model.ts';

const gates = { state: 'state manager', proxy: 'proxy', pods: 'workload proxy manager' } as const;

/**
 * The node proxy as a process: the mesh from the control plane, certificates for the workloads of this node, a proxy for
 * each pod that the CNI agent hands over (or, in dedicated mode, for one workload), and the ports for probes, metrics and
 * administration. Runs until it is told to stop; open connections then get the drain deadline.
 */
export async function runZtunnel(config: ZtunnelConfig): Promise<void> {
  judgeBuffersByHeap();
  const log = createLogger('ztunnel');
  await runUntilStopped(log, (signal) => serve(config, log, signal));
}

async function serve(config: ZtunnelConfig, log: Logger, signal: AbortSignal): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const loggers = [log, createLogger('xds'), createLogger('certificates'), createLogger('inpod'), createLogger('rbac')] as const;
  const [, xdsLog, certificatesLog, inpodLog, rbacLog] = loggers;
  const state = new MeshState({ localNode: config.nodeName, localCluster: config.clusterId });
  const metrics = new ZtunnelMetrics();
  const readiness = new Readiness([gates.state, gates.proxy, ...(config.mode === 'shared' ? [gates.pods] : [])]);
  const certificates = resources.use(new Certificates({ sign: signFor(config), log: certificatesLog }));
  const connections = resources.use(new ConnectionTracker({ state, log: rbacLog }));
  const accessLog = new AccessLog({ format: config.logFormat });
  resources.defer(() => {
    accessLog.flush();
  });
  const context: ProxyContext = { config, state, certificates, connections, accessLog, metrics };
  const pods = new Map<string, PodProxy>();

  const wildcard = config.ipv6 ? '::' : '0.0.0.0';
  resources.use(await readiness.listen({ host: wildcard, port: config.ports.readiness }));
  resources.use(await listenStats(wildcard, config.ports.stats, metrics));
  resources.use(
    await listenAdmin({
      port: config.ports.admin,
      loggers,
      configDump: () =>
        configDump({ config, state, certificates: certificates.dump(), connections: connections.dump(), pods: [...pods.values()] }),
      quit: () => process.kill(process.pid, 'SIGTERM'),
    }),
  );
  resources.defer(prefetchLocal(state, certificates));
  await loadMesh({ config, state, metrics, log: xdsLog, signal });
  readiness.set(gates.state, true);
  readiness.set(gates.proxy, true);
  if (signal.aborted) return;
  const start = async (pod: Pick<PodProxyOptions, 'uid' | 'workloadInfo' | 'namespace'>): Promise<PodProxy> => {
    const proxy = await startPodProxy({ ...context, ...pod, ...(config.dnsProxy && { startDns }) });
    pods.set(pod.uid, proxy);
    return forgetting(proxy, pods);
  };
  if (config.mode === 'shared') {
    await runInPod({
      path: config.inpodSocket,
      start,
      onReady: (ready) => {
        readiness.set(gates.pods, ready);
      },
      drainDeadlineMs: config.drainDeadlineMs,
      log: inpodLog,
      signal,
    });
    return;
  }
  if (config.workloadInfo === undefined) return;
  const proxy = await start({ uid: 'dedicated', workloadInfo: config.workloadInfo, namespace: NetworkNamespace.current() });
  await aborted(signal);
  await proxy.drain(config.drainDeadlineMs);
}

/** Loads LOCAL_XDS and connects to the control plane; resolves when the whole mesh is known once, or the signal is aborted. */
async function loadMesh(options: {
  readonly config: ZtunnelConfig;
  readonly state: MeshState;
  readonly metrics: ZtunnelMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { config, state, log, signal } = options;
  if (config.localXdsPath !== undefined || config.localXds !== undefined) {
    const local =
      config.localXdsPath === undefined
        ? await parseLocalState(config.localXds ?? '', 'LOCAL_XDS')
        : await readLocalState(config.localXdsPath);
    state.applyAddresses(local.addresses);
    state.applyPolicies(local.policies);
    log.info({ workloads: state.workloads.size, services: state.services.size, policies: state.policies.size }, 'local state loaded');
  }
  if (config.xdsAddress === undefined) return;
  const { promise: synced, resolve } = Promise.withResolvers<undefined>();
  const client = meshClient({
    ...options,
    address: config.xdsAddress,
    onSynced: () => {
      resolve(undefined);
    },
  });
  const running = client.run(signal).catch((error: unknown) => {
    log.fatal({ error: describeError(error) }, 'xDS client ended');
  });
  await Promise.race([synced, running, aborted(signal)]);
  if (!signal.aborted)
    log.info({ workloads: state.workloads.size, services: state.services.size, policies: state.policies.size }, 'mesh received');
}

/** Keeps certificates for exactly the identities that workloads of this node have. */
function prefetchLocal(state: MeshState, certificates: Certificates): () => void {
  let before: ReadonlySet<string> = new Set();
  const update = (): void => {
    const now = new Set<string>();
    for (const workload of state.workloads.locals()) {
      if (workload.protocol === 'HBONE' || workload.nativeTunnel) now.add(workloadIdentity(workload));
    }
    for (const identity of now) if (!before.has(identity)) certificates.prefetch(identity);
    for (const identity of before) if (!now.has(identity)) certificates.forget(identity);
    before = now;
  };
  update();
  return state.onAddressChange(update);
}

function signFor(config: ZtunnelConfig): ReturnType<typeof signer> {
  const { caAddress } = config;
  if (caAddress === undefined) return () => Promise.reject(new Error('CA_ADDRESS is empty: this process has no certificate authority'));
  return signer(config, caAddress);
}

function listenStats(host: string, port: number, metrics: ZtunnelMetrics): Promise<HttpEndpoints> {
  const endpoint = { method: 'GET', handle: () => ({ type: openMetricsContentType, body: metrics.render() }) } as const;
  return HttpEndpoints.listen({ host, port, paths: { '/metrics': endpoint, '/stats/prometheus': endpoint } });
}

/** The proxy, which leaves the list when it has stopped. */
function forgetting(proxy: PodProxy, pods: Map<string, PodProxy>): PodProxy {
  const forget = (): void => {
    if (pods.get(proxy.uid) === proxy) pods.delete(proxy.uid);
  };
  return {
    uid: proxy.uid,
    workloadInfo: proxy.workloadInfo,
    drain: (deadlineMs) => proxy.drain(deadlineMs).finally(forget),
    [Symbol.asyncDispose]: () => (proxy[Symbol.asyncDispose]() as Promise<void>).finally(forget),
  };
}

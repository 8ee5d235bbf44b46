import { lookup } from 'node:dns/promises';

import { IsthmusError, withTimeout } from '../core/index.ts';
import type { NetworkNamespace } from '../linux/index.ts';
import type { AccessLog } from './access-log.ts';
import type { CertificateSource } from './certificates.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionTracker } from './connections.ts';
import { Inbound } from './inbound.ts';
import { Listener } from './listener.ts';
import type { ZtunnelMetrics } from './metrics.ts';
import { localWorkloadTimeout, Outbound } from './outbound.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { Workload, WorkloadInfo } from './state/model.ts';

/** What every pod's proxy of this process shares. */
export interface ProxyContext {
  readonly config: ZtunnelConfig;
  readonly state: MeshState;
  readonly certificates: CertificateSource;
  readonly connections: ConnectionTracker;
  readonly accessLog: AccessLog;
  readonly metrics: ZtunnelMetrics;
}

export interface PodProxyOptions extends ProxyContext {
  /** Kubernetes' UID of the pod. */
  readonly uid: string;
  readonly workloadInfo: WorkloadInfo;
  /** The pod's network namespace; owned by the caller, who closes it after the proxy has stopped. */
  readonly namespace: NetworkNamespace;
  /** Starts the pod's DNS proxy; left out: names are not answered here. */
  readonly startDns?: (options: PodContext) => Promise<AsyncDisposable>;
}

/** A running pod proxy. `await using` (or calling the dispose method) stops it at once: upstream's immediate drain. */
export interface PodProxy extends AsyncDisposable {
  readonly uid: string;
  readonly workloadInfo: WorkloadInfo;
  /** Stops accepting, lets open connections go on until they end or `deadlineMs` passes, then stops. */
  drain(deadlineMs: number): Promise<void>;
}

/** What the parts of one pod's proxy share. */
export interface PodContext extends ProxyContext {
  readonly uid: string;
  readonly workloadInfo: WorkloadInfo;
  readonly namespace: NetworkNamespace;
  /** The pod as the control plane knows it; waits for it, and rejects with ZTUNNEL_WORKLOAD_UNKNOWN after five seconds. */
  workload(): Promise<Workload>;
  readonly resolveHostname: (hostname: string) => Promise<readonly string[]>;
  /** Aborted when the proxy stops; its reason is what open connections are logged with. */
  readonly stopped: AbortSignal;
}

/**
 * Opens a pod's ports in its network namespace: 15001 for what it sends, 15006 and 15008 for what it receives, and its DNS
 * proxy. Rejects when one cannot be opened (LINUX_SYSCALL); those that could are closed again.
 */
export async function startPodProxy(options: PodProxyOptions): Promise<PodProxy> {
  const { uid, workloadInfo, namespace, config } = options;
  const stop = new AbortController();
  const context: PodContext = { ...options, stopped: stop.signal, workload: () => localWorkload(options, stop.signal), resolveHostname };
  const host = config.ipv6 ? '::' : '0.0.0.0';
  const shared = { namespace, host, mark: config.packetMark, reusePort: config.reusePort };
  await using opened = new AsyncDisposableStack();
  const outbound = opened.use(new Outbound(context));
  const inbound = opened.use(new Inbound(context));
  const transparent = config.originalSource !== 'never' && config.packetMark !== undefined;
  const listeners = [
    opened.use(
      await Listener.open({
        ...shared,
        port: config.ports.outbound,
        keepAlive: config.keepAlive,
        onConnection: (socket) => void outbound.handle(socket),
      }),
    ),
    opened.use(
      await Listener.open({
        ...shared,
        port: config.ports.inboundPlaintext,
        transparent,
        keepAlive: config.keepAlive,
        onConnection: (socket) => void inbound.handlePlaintext(socket),
      }),
    ),
    opened.use(
      await Listener.open({
        ...shared,
        port: config.ports.hbone,
        transparent,
        onConnection: (socket) => {
          inbound.handleHbone(socket);
        },
      }),
    ),
  ];
  if (options.startDns !== undefined) opened.use(await options.startDns(context));
  const running = opened.move();
  options.metrics.proxies.active += 1;
  options.metrics.proxies.started += 1;
  let stopping: Promise<void> | undefined;
  const dispose = (): Promise<void> => {
    stopping ??= (async () => {
      options.metrics.proxies.active -= 1;
      options.metrics.proxies.stopped += 1;
      stop.abort(new IsthmusError('ZTUNNEL_DRAINED', 'connection closed due to connection drain'));
      await running.disposeAsync();
    })();
    return stopping;
  };
  return {
    uid,
    workloadInfo,
    drain: async (deadlineMs) => {
      for (const listener of listeners) listener.close();
      inbound.drain();
      await Promise.all(listeners.map((listener) => listener.drained(deadlineMs)));
      await dispose();
    },
    [Symbol.asyncDispose]: dispose,
  };
}

async function localWorkload({ state, workloadInfo }: PodProxyOptions, stopped: AbortSignal): Promise<Workload> {
  // The usual case, without timers.
  const known = state.workloads.local(workloadInfo);
  if (known !== undefined) return known;
  const { name, namespace, serviceAccount } = workloadInfo;
  try {
    return await withTimeout('local workload', localWorkloadTimeout, (signal) => state.localWorkload(workloadInfo, signal), stopped);
  } catch (cause) {
    throw new IsthmusError(
      'ZTUNNEL_WORKLOAD_UNKNOWN',
      `failed to fetch information about local workload: ${serviceAccount}.${namespace} (${name})`,
      { cause },
    );
  }
}

/** From the proxy's own namespace, as upstream does. */
async function resolveHostname(hostname: string): Promise<readonly string[]> {
  try {
    return (await lookup(hostname, { all: true })).map(({ address }) => address);
  } catch {
    // No such name, or no answer: the caller says that nothing was resolved.
    return [];
  }
}

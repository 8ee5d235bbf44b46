import type { NetworkNamespace } from '../linux/index.ts';
import type { AccessLog } from './access-log.ts';
import type { CertificateSource } from './certificates.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionTracker } from './connections.ts';
import type { ZtunnelMetrics } from './metrics.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { WorkloadInfo } from './state/model.ts';

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
}

/** A running pod proxy. `await using` (or calling the dispose method) stops it at once: upstream's immediate drain. */
export interface PodProxy extends AsyncDisposable {
  readonly uid: string;
  readonly workloadInfo: WorkloadInfo;
  /** Stops accepting, lets open connections go on until they end or `deadlineMs` passes, then stops. */
  drain(deadlineMs: number): Promise<void>;
}

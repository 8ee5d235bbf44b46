import { AppProtocol } from '../api/gen/istio/workload_pb.js';

const byName: Readonly<Record<string, AppProtocol>> = {
  http: AppProtocol.HTTP11,
  http2: AppProtocol.HTTP2,
  grpc: AppProtocol.GRPC,
  tcp: AppProtocol.TCP,
  tls: AppProtocol.TLS,
  https: AppProtocol.TLS,
};

/** Kubernetes' own values of appProtocol. */
const kubernetesNames: Readonly<Record<string, AppProtocol>> = {
  'kubernetes.io/h2c': AppProtocol.HTTP2,
  'kubernetes.io/ws': AppProtocol.HTTP11,
  'kubernetes.io/wss': AppProtocol.TLS,
};

/** Protocols in which the server speaks first: sniffing them would hang, so they are TCP unless a name says otherwise. */
const serverFirstPorts = new Set([25, 53, 3306, 27017]);

/** The known names that have no value of their own on the wire. */
const unmapped = new Set(['udp', 'grpc-web', 'mongo', 'redis', 'mysql']);

/** Istio's names of protocols, in any case: `HTTP`, `grpc`, … `undefined` for a name it does not know. */
export function protocolByName(text: string): AppProtocol | undefined {
  const name = text.toLowerCase();
  if (name.startsWith('grpc-web')) return AppProtocol.UNKNOWN;
  const first = name.split('-')[0] ?? '';
  if (unmapped.has(first)) return AppProtocol.UNKNOWN;
  return Object.hasOwn(byName, first) ? byName[first] : undefined;
}

export interface ServicePortProtocol {
  readonly port: number;
  readonly name?: string | undefined;
  readonly protocol?: string | undefined;
  readonly appProtocol?: string | undefined;
}

/** What is spoken on a port of a Kubernetes Service: appProtocol, else the prefix of its name, else a well-known number. */
export function appProtocolOf({ port, name = '', protocol = 'TCP', appProtocol }: ServicePortProtocol): AppProtocol {
  if (protocol === 'UDP') return AppProtocol.UNKNOWN;
  const kubernetes = appProtocol?.toLowerCase() ?? '';
  const known = Object.hasOwn(kubernetesNames, kubernetes) ? kubernetesNames[kubernetes] : protocolByName(appProtocol ?? name);
  return known ?? (serverFirstPorts.has(port) ? AppProtocol.TCP : AppProtocol.UNKNOWN);
}

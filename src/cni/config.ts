import { IsthmusError } from '../core/index.ts';

/** Everything the node agent is told from outside. Names and defaults are upstream's install-cni's where it has them. */
export interface CniConfig {
  /** NODE_NAME: only pods of this node are looked at. */
  readonly nodeName: string;
  /** POD_NAME and POD_NAMESPACE of the agent itself; undefined outside of a pod. */
  readonly pod: { readonly name: string; readonly namespace: string } | undefined;
  /** HOST_IP: the node's address, by which the agent sees whether it shares the node's network namespace. */
  readonly hostIp: string | undefined;
  /** EXCLUDE_NAMESPACES, comma-separated, default kube-system: pods there are never enrolled. */
  readonly excludeNamespaces: ReadonlySet<string>;
  /** AMBIENT_DNS_CAPTURE, default true: DNS queries of pods go through ztunnel. */
  readonly dnsCapture: boolean;
  /** AMBIENT_IPV6, default true: IPv6 is redirected where a pod has it. */
  readonly ipv6: boolean;
  /** HOST_PROBE_SNAT_IP and HOST_PROBE_SNAT_IPV6: the source of the node's own connections to enrolled pods. */
  readonly probeAddresses: ProbeAddresses;
  /** CNI_NET_DIR, default /host/etc/cni/net.d: the node's /etc/cni/net.d. */
  readonly netDir: string;
  /** CNI_BIN_DIR, default /host/opt/cni/bin: the node's /opt/cni/bin. */
  readonly binDir: string;
  /** CNI_CONF_NAME: the file of CNI_NET_DIR to chain into; default the first. */
  readonly confName: string | undefined;
  /** CNI_NODE_BINARY: a Node that the node itself has, for the plugin; default: the agent's own is copied beside the plugin. */
  readonly nodeBinary: string | undefined;
  /** CNI_AGENT_RUN_DIR, default /var/run/istio-cni: where the plugin finds the agent. The same path in the pod and on the node. */
  readonly runDir: string;
  /** ZTUNNEL_UDS_ADDRESS, default /var/run/ztunnel/ztunnel.sock. */
  readonly ztunnelSocket: string;
  /** NETNS_DIR, default /host/var/run/netns: where the container runtime names pods' network namespaces. */
  readonly netnsDir: string;
  /** HEALTH_PORT, default 8000. */
  readonly healthPort: number;
}

export interface ProbeAddresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the configuration; ISTHMUS_CONFIG_INVALID names the variable that cannot be used. */
export function configFromEnvironment(env: Environment): CniConfig {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const nodeName = text('NODE_NAME') ?? text('KUBERNETES_NODE_NAME');
  if (nodeName === undefined)
    throw new IsthmusError('ISTHMUS_CONFIG_INVALID', 'NODE_NAME is not set', { hint: 'set it from the field spec.nodeName' });
  const [podName, podNamespace] = [text('POD_NAME'), text('POD_NAMESPACE')];
  return {
    nodeName,
    pod: podName === undefined || podNamespace === undefined ? undefined : { name: podName, namespace: podNamespace },
    hostIp: text('HOST_IP'),
    excludeNamespaces: new Set(
      (env['EXCLUDE_NAMESPACES'] ?? 'kube-system')
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    ),
    dnsCapture: flag(env, 'AMBIENT_DNS_CAPTURE', true),
    ipv6: flag(env, 'AMBIENT_IPV6', true),
    probeAddresses: {
      ipv4: text('HOST_PROBE_SNAT_IP') ?? '169.254.7.127',
      ipv6: text('HOST_PROBE_SNAT_IPV6') ?? 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff',
    },
    netDir: text('CNI_NET_DIR') ?? '/host/etc/cni/net.d',
    binDir: text('CNI_BIN_DIR') ?? '/host/opt/cni/bin',
    confName: text('CNI_CONF_NAME'),
    nodeBinary: text('CNI_NODE_BINARY'),
    runDir: text('CNI_AGENT_RUN_DIR') ?? '/var/run/istio-cni',
    ztunnelSocket: text('ZTUNNEL_UDS_ADDRESS') ?? '/var/run/ztunnel/ztunnel.sock',
    netnsDir: text('NETNS_DIR') ?? '/host/var/run/netns',
    healthPort: port(env, 'HEALTH_PORT', 8000),
  };
}

function flag(env: Environment, name: string, otherwise: boolean): boolean {
  const value = env[name]?.toLowerCase();
  if (value === undefined || value === '') return otherwise;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `${name} must be true or false, not "${value}"`);
}

function port(env: Environment, name: string, otherwise: number): number {
  const value = env[name];
  if (value === undefined || value === '') return otherwise;
  const number = Number(value);
  if (Number.isInteger(number) && number >= 0 && number <= 65535) return number;
  throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `${name} must be a port, not "${value}"`);
}

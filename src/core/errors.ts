/**
 * Every code that an {@link IsthmusError} may carry. A code is stable: scripts and docs/errors/ refer to it, so it is
 * never renamed or given a second meaning. Rooms add theirs here, grouped by room.
 */
export const errorCodes = {
  // core
  ISTHMUS_INTERNAL: 'a defect of Isthmus itself',
  ISTHMUS_USAGE: 'a command line that cannot be understood',
  ISTHMUS_TIMEOUT: 'something did not happen in the time it was given',
  ISTHMUS_CONFIG_INVALID: 'an environment variable, option or file has a value that cannot be used',
  // linux
  LINUX_SYSCALL: 'a system call failed',
  LINUX_NO_USER_NAMESPACES: 'neither root nor user namespaces are available',
  LINUX_NOT_A_NAMESPACE: 'a file or descriptor is not a network namespace',
  LINUX_COMMAND_FAILED: 'a system program (ip, nft, mount) failed',
  // kube
  KUBE_API: 'the API server answered with an error status',
  KUBE_KIND_MISSING: 'the API server does not serve a kind that the process reads',
  KUBE_UNREACHABLE: 'the API server cannot be reached',
  KUBE_CONFIG: 'a kubeconfig cannot be used',
  KUBE_AUTH_PROVIDER: 'a kubeconfig has an auth-provider, which came before exec plugins',
  KUBE_EXEC_NOT_FOUND: "a kubeconfig's credential plugin cannot be run",
  KUBE_EXEC_FAILED: "a kubeconfig's credential plugin failed",
  KUBE_EXEC_TIMEOUT: "a kubeconfig's credential plugin did not end in time",
  KUBE_EXEC_INVALID: "a kubeconfig's credential plugin printed something else than credentials",
  KUBE_EXEC_INTERACTIVE: "a kubeconfig's credential plugin needs a terminal",
  // cli
  MESH_NOT_INSTALLED: 'no istiod was found in a cluster',
  MESH_AMBIGUOUS: 'a cluster has several istiods, and none was chosen',
  MESH_NETWORK_UNSET: "istiod's namespace does not say which network the cluster is in",
  NAMESPACE_MISSING: 'a namespace that is needed does not exist',
  PEERING_NOT_INSTALLED: 'a cluster has an Istio without peering, and nothing peers for it',
  LINK_NOT_EXPOSED: 'a cluster to be linked has no east-west gateway',
  LINK_DUPLICATE_CLUSTER: 'two clusters to be linked have one cluster id',
  UNLINK_ENTRIES_LEFT: 'a link is removed, but not what came over it',
  MULTICLUSTER_CHECK_FAILED: 'multicluster check found something wrong',
  INSTALL_PEERING_BUILT_IN: 'peering was to go beside an istiod that peers by itself',
  INSTALL_CLUSTER_ID: 'the cluster id of an istiod cannot be part of object names',
  INSTALL_NETWORK_DIFFERS: 'a cluster is in another network than the one that was given',
  INSTALL_GATEWAY_API_MISSING: 'a cluster has no Gateway API',
  INSTALL_NOT_OURS: 'an istiod is there already that somebody else installed',
  UNINSTALL_NOT_OURS: 'an istiod or a peering process was to be removed that somebody else installed',
  DEMO_UNTRUE: 'something that the demo shows did not happen',
  // hbone
  HBONE_PROTOCOL: 'the peer broke the rules of HTTP/2, HPACK or CONNECT',
  HBONE_CONNECT_TIMEOUT: 'the TCP connection to the peer was not established in time',
  HBONE_TLS: 'the TLS handshake failed',
  HBONE_PEER_IDENTITY: 'the peer proved another identity than the expected one',
  HBONE_STATUS: 'the peer refused the CONNECT request with a status other than 200',
  HBONE_STREAM_RESET: 'the peer reset the stream',
  HBONE_CONNECTION_LOST: 'the tunnel broke or its peer stopped answering pings',
  HBONE_CLOSED: 'the tunnel or its pool is closed on our side',
  // ztunnel
  ZTUNNEL_RESOURCE_REJECTED: 'a workload, service or policy from the control plane cannot be used',
  ZTUNNEL_NO_HEALTHY_UPSTREAM: 'a service has no endpoint for the connection',
  ZTUNNEL_NO_ROUTE: 'a workload cannot be reached from this network',
  ZTUNNEL_UNKNOWN_WAYPOINT: 'the waypoint of a service or workload is not known',
  ZTUNNEL_UNKNOWN_DESTINATION: 'a CONNECT request names a service or port that cannot be resolved',
  ZTUNNEL_DESTINATION_MISMATCH: 'a CONNECT request names an address that is not this pod',
  ZTUNNEL_WORKLOAD_UNKNOWN: 'the control plane has not told about a pod of this node',
  ZTUNNEL_SELF_CALL: 'a connection aims at a port of the proxy itself',
  ZTUNNEL_POLICY_DENIED: 'an authorization policy refuses the connection',
  ZTUNNEL_POLICY_CHANGED: 'a changed authorization policy closed the connection',
  ZTUNNEL_CERTIFICATE: 'there is no certificate for an identity',
  ZTUNNEL_DRAINED: 'the proxy stopped while the connection was open',
  ZTUNNEL_DNS_FORWARD: 'no name server answered a query that was passed on',
  ZTUNNEL_ZDS_MESSAGE: 'a packet of the CNI agent cannot be read',
  ZTUNNEL_ZDS_PROTOCOL: 'the CNI agent broke the rules of their protocol',
  ZTUNNEL_POD_PENDING: "a pod's proxy could not start and is tried again",
  ZTUNNEL_GATEWAY_HBONE: 'HBONE for another network, which the gateway does not carry',
  // pki
  PKI_IDENTITY: 'a SPIFFE identity cannot be read or used',
  PKI_CSR: 'a certificate signing request cannot be accepted',
  PKI_TTL: 'a certificate was asked for a longer time than is allowed',
  PKI_CA_INVALID: 'the files of a certificate authority do not belong together or cannot be used',
  PKI_CA_NOT_READY: 'the certificate authority has expired or is not valid yet',
  PKI_ROOT_MISSING: 'a directory holds no root certificate and key',
  PKI_ROOT_EXISTS: 'a directory already holds a root, which is not overwritten',
  PKI_FILE: 'a certificate or key file cannot be read or written',
  // xds
  XDS_LISTEN: 'a gRPC listener could not be opened',
  XDS_CONNECT: 'a gRPC server cannot be reached',
  XDS_CERTIFICATE: 'the certificate service did not sign',
  // mesh
  MESH_ADDRESS_INVALID: 'a ServiceEntry has an address that is neither an IP address nor a range',
  MESH_ADDRESSES_EXHAUSTED: 'no virtual address is left for the hosts of ServiceEntries',
  // istiod
  ISTIOD_CALLER_UNKNOWN: 'a caller of istiod did not prove who it is',
  ISTIOD_IMPERSONATION_DENIED: 'a node proxy asked for a certificate that it may not have',
  // lab
  LAB_ALREADY_RUNNING: 'a lab is running already',
  LAB_NOT_RUNNING: 'no lab is running',
  LAB_PORT_TAKEN: 'a port for an API server is taken on the loopback interface',
  LAB_START_FAILED: 'the lab did not start',
  LAB_STATE_INVALID: "the lab's state file cannot be read",
  LAB_APISERVER_LISTEN: 'the API server of a cluster cannot listen on its address',
  LAB_CNI: 'a CNI plugin refused or failed',
  LAB_POD_INVALID: 'a pod asks for something that no pod can have',
  LAB_POD_CONFIG: "a ConfigMap or Secret for a container's environment is missing",
  LAB_VOLUME: 'a volume of a pod cannot be made',
  LAB_NOT_A_LAB: 'a cluster is to run a program of this machine and is none of the running lab',
  LAB_PROGRAM: 'a program that pods are to run is not there or cannot be executed',
  // peering
  PEERING_SERVICE_UNSUPPORTED: 'a Service that is to be global cannot be, or not all of it',
  PEERING_GATEWAY_INVALID: 'an istio-remote Gateway does not say how to reach the peer',
  PEERING_NOT_CONNECTED: 'the control plane of a peer cannot be reached',
  PEERING_IDENTITY: 'whoever answered at the address of a peer has no peering identity',
  PEERING_PIN_MISMATCH: 'a peer is signed by another certificate authority than the pinned one',
  PEERING_CLUSTER_ID: 'a peer speaks for a cluster id that is not its own, is ours, or cannot be one',
  PEERING_TRUST_DOMAIN: 'a peer has another trust domain than this cluster, or than its Gateway says',
  PEERING_NETWORK: 'this cluster or a peer does not say which network it is in, or says another than its Gateway',
  PEERING_RANGE_OVERLAP: 'the pod ranges of a peer overlap those of this cluster or of another peer',
  PEERING_DUPLICATE: 'two Gateways link to the same cluster',
  PEERING_RESOURCE_REFUSED: 'a peer sent something that is malformed or that it may not speak of',
  PEERING_LIMIT: 'a peer sent more resources than are taken from one peer',
  PEERING_PORTS_DISAGREE: 'clusters disagree about the ports of a global service',
  PEERING_TARGET_PORTS: 'the pods of a global Service do not agree where one of its ports goes, or none of them has it',
  PEERING_SELECTOR: 'the labels by which a Service selects its pods do not tell its endpoints from those of another',
  PEERING_ADDRESS_TAKEN: 'a workload of a peer has an address that is not its own',
  PEERING_NAMESPACE_MISSING: 'the namespace of a service that peers export does not exist here',
  PEERING_NOT_OURS: 'an object that is to be written exists and was made by somebody else',
  PEERING_LEASE_EXPIRED: 'a peer was away for so long that its endpoints were removed',
  PEERING_CERTIFICATE: 'the peering process has no certificate from istiod',
  PEERING_NAME_TAKEN: 'an object that a Gateway needs exists and belongs to someone else',
  PEERING_CALLER: 'a caller may not read what this cluster exports',
  // cni
  CNI_REDIRECTION: "the redirection in a pod's network namespace could not be installed or removed",
  CNI_POD_NAMESPACE_NOT_FOUND: 'no network namespace of the node has the address of a pod',
  CNI_NO_ZTUNNEL: 'no ztunnel is connected to the node agent',
  CNI_ZTUNNEL_REFUSED: 'ztunnel could not take a pod over',
  CNI_ZTUNNEL_TIMEOUT: 'ztunnel did not answer the node agent in time',
  CNI_AGENT_UNREACHABLE: 'the CNI plugin cannot reach the node agent',
  CNI_PLUGIN_REQUEST: 'a request of the CNI plugin cannot be used',
  CNI_NETWORK_CONFIG: 'a CNI network configuration of the node cannot be used',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof errorCodes;

/** The one error class of the project: what happened, to what, and what to do next, under a stable code. */
export class IsthmusError extends Error {
  readonly code: ErrorCode;
  /** What the reader can do next; a sentence or a command. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IsthmusError';
    this.code = code;
    this.hint = options.hint;
  }

  /** One line for a terminal or a log: `message [CODE]; hint`. */
  oneLine(): string {
    return `${this.message} [${this.code}]${this.hint === undefined ? '' : `; ${this.hint}`}`;
  }
}

/** The message of anything that was thrown, with the code of an {@link IsthmusError}; causes follow after a colon. */
export function describeError(error: unknown): string {
  if (error instanceof IsthmusError) return error.oneLine();
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describeError).join(', ');
  if (error instanceof Error) {
    return error.cause === undefined ? error.message : `${error.message}: ${describeError(error.cause)}`;
  }
  return String(error);
}

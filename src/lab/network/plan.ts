import { IsthmusError } from '../../core/index.ts';

/** Addresses and ports of one cluster of the lab; all of them follow from its number. */
export interface ClusterPlan {
  /** `cluster-1`, …; also its kubeconfig context. */
  readonly name: string;
  /** Counted from 1. */
  readonly number: number;
  readonly nodeName: string;
  /** On the shared node network. */
  readonly nodeAddress: string;
  /** All pods of the cluster. */
  readonly podCidr: string;
  /** The pods of the one node: spec.podCIDR of its Node. */
  readonly nodePodCidr: string;
  /** The node's address as its pods see it: their gateway, and the source of their probes. */
  readonly podGateway: string;
  readonly serviceCidr: string;
  /** ClusterIP of the Service `kubernetes`. */
  readonly apiServiceAddress: string;
  /** ClusterIP of the Service `kube-dns`. */
  readonly dnsAddress: string;
  readonly loadBalancerCidr: string;
  /** Where the API server listens on the host's loopback. */
  readonly hostPort: number;
}

/** `flat`: nodes have routes to the other clusters' pods, services and load balancers. `separate`: only to each other. */
export type NetworkMode = 'flat' | 'separate';

/** Every node is on this network, as in kind. */
export const nodeNetwork = '172.18.0.0/16';

/** The lab's own end of the node network. */
export const bridgeAddress = '172.18.0.1/16';

/** Port of every API server on its node's address. */
export const apiServerPort = 6443;

/** Port of the node agent on its node's address, as the kubelet's. */
export const kubeletPort = 10250;

/** The names of the lab's clusters and the DNS domain of each. */
export const clusterDomain = 'cluster.local';

const mostClusters = 20;

/** Plans `count` clusters (1 to 20), the API server of the first one on `firstPort` of the host's loopback, the next on the next port. */
export function planClusters(count: number, firstPort: number): readonly ClusterPlan[] {
  if (!Number.isInteger(count) || count < 1 || count > mostClusters) {
    throw new IsthmusError('ISTHMUS_USAGE', `a lab has 1 to ${mostClusters} clusters, not ${count}`);
  }
  if (!Number.isInteger(firstPort) || firstPort < 1 || firstPort + count - 1 > 65_535) {
    throw new IsthmusError('ISTHMUS_USAGE', `no room for ${count} ports from ${firstPort} on`);
  }
  return Array.from({ length: count }, (_, index) => planCluster(index + 1, firstPort + index));
}

function planCluster(number: number, hostPort: number): ClusterPlan {
  const name = `cluster-${number}`;
  const range = number * 10;
  return {
    name,
    number,
    nodeName: `${name}-control-plane`,
    nodeAddress: `172.18.0.${number + 1}`,
    podCidr: `10.${range}.0.0/16`,
    nodePodCidr: `10.${range}.0.0/24`,
    podGateway: `10.${range}.0.1`,
    serviceCidr: `10.255.${range}.0/24`,
    apiServiceAddress: `10.255.${range}.1`,
    dnsAddress: `10.255.${range}.10`,
    loadBalancerCidr: `172.18.${200 + number}.0/24`,
    hostPort,
  };
}

/** The ranges of a cluster that others reach through its node. */
export function routedRanges(plan: ClusterPlan): readonly string[] {
  return [plan.podCidr, plan.serviceCidr, plan.loadBalancerCidr];
}

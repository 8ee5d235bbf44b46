import { runCommand } from '../../linux/index.ts';
import { bridgeAddress, routedRanges, type ClusterPlan, type NetworkMode } from './plan.ts';

/**
 * Makes the node network in the calling process's network namespace, which must be the lab's own: a bridge, and per
 * cluster a network namespace `/run/netns/<node>` with an `eth0` on the bridge.
 */
export async function makeNodeNetwork(clusters: readonly ClusterPlan[], mode: NetworkMode): Promise<void> {
  await runCommand('ip', ['-batch', '-'], {
    input: ['link set lo up', 'link add lab0 type bridge', `addr add ${bridgeAddress} dev lab0`, 'link set lab0 up'].join('\n'),
  });
  for (const plan of clusters) await makeNode(plan, clusters, mode);
}

/** The path of a node's network namespace, in the supervisor's mount namespace. */
export function nodeNetworkNamespace(plan: ClusterPlan): string {
  return `/run/netns/${plan.nodeName}`;
}

async function makeNode(plan: ClusterPlan, clusters: readonly ClusterPlan[], mode: NetworkMode): Promise<void> {
  const port = `node${plan.number}`;
  await runCommand('ip', ['netns', 'add', plan.nodeName]);
  await runCommand('ip', ['-batch', '-'], {
    input: [`link add ${port} type veth peer name eth0 netns ${plan.nodeName}`, `link set ${port} master lab0 up`].join('\n'),
  });
  const peers = clusters
    .filter((other) => mode === 'flat' && other.number !== plan.number)
    .flatMap((other) => routedRanges(other).map((range) => `route add ${range} via ${other.nodeAddress}`));
  await runCommand('nsenter', [`--net=${nodeNetworkNamespace(plan)}`, 'sh', '-ec', `${forwardingScript}\nip -batch -`], {
    input: [
      'link set lo up',
      `addr add ${plan.nodeAddress}/16 dev eth0`,
      'link set eth0 up',
      // The address of a pod that is gone is refused at once. Where else there is no route, the kernel says so.
      `route add unreachable ${plan.podCidr}`,
      ...peers,
    ].join('\n'),
  });
  if (mode === 'separate')
    await runCommand('nsenter', [`--net=${nodeNetworkNamespace(plan)}`, 'nft', '-f', '-'], { input: masquerade(plan) });
}

/**
 * On networks that are apart, a pod reaches the nodes and load balancers of others with its node's address, as it would
 * through any gateway to the world: nobody there has a route back to its own.
 */
function masquerade(plan: ClusterPlan): string {
  return `table ip isthmus-lab {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${plan.podCidr} oifname "eth0" masquerade
  }
}
`;
}

/** A router whose packets may come and go by different interfaces; a new namespace copies the host's own settings. */
const forwardingScript = `
cd /proc/sys/net/ipv4
echo 1 > ip_forward
for kind in all default; do echo 0 > conf/$kind/rp_filter; done
`;

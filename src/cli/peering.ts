import process from 'node:process';

import { createLogger, runUntilStopped } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';
import { peeringProcessConfig, runPeeringProcess, type PeeringProcessFlags } from '../peering/index.ts';
import { createCommand, runCommand } from './command.ts';

interface Flags extends PeeringProcessFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** `isthmus peering`: peering beside an istiod of somebody else, configured by ztunnel's environment variables and by flags. */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('peering', 'Peers one cluster with others beside its own Istio.')
    .option('--kubeconfig <file>', 'kubeconfig of the cluster; default the service account of the pod')
    .option('--context <name>', 'context in the kubeconfig')
    .option('--cluster-id <id>', "istiod's id of the cluster; default CLUSTER_ID")
    .option('--network <name>', 'network of the cluster; default NETWORK, then the label of the namespace')
    .option('--listen <address>', 'where peers connect; default :15012')
    .option('--monitoring <address>', 'metrics; default :15014')
    .option('--readiness <address>', 'probes; default :8080')
    .option('--pod-cidrs <ranges>', "the pods' ranges; default POD_CIDRS, then those of the nodes")
    .option('--service-cidrs <ranges>', "the Services' ranges; default SERVICE_CIDRS")
    .option('--create-namespaces', 'make the namespaces of services of peers; default CREATE_NAMESPACES')
    .option('--linked-peers-only', 'tell nothing to clusters that this one does not link to; default LINKED_PEERS_ONLY')
    .option('--peer-lease <time>', "how long an unreachable peer's entries are kept; default PEER_LEASE, then 1h")
    .option('--lease <time>', 'how long a leader is believed without a sign of life; default LEASE_DURATION, then 3s')
    .option('--renew-deadline <time>', 'how long a leader goes on that cannot renew; default RENEW_DEADLINE, then 2/3 of the lease')
    .option('--retry-period <time>', 'how often those who do not lead look; default RETRY_PERIOD, then 1/6 of the lease')
    .action(async (flags: Flags) => {
      const log = createLogger('peering');
      const config = peeringProcessConfig(process.env, flags);
      using client =
        flags.kubeconfig === undefined && flags.context === undefined
          ? KubeClient.inCluster()
          : KubeClient.fromKubeconfig({ path: flags.kubeconfig, context: flags.context });
      await runUntilStopped(log, (signal) => runPeeringProcess({ client, config, log }, signal));
    });
  await runCommand(command, args);
}

import process from 'node:process';

import { createLogger, parseListenAddress, runUntilStopped } from '../core/index.ts';
import { istiodConfig, runIstiod, type IstiodConfig } from '../istiod/index.ts';
import { KubeClient } from '../kube/index.ts';
import { createCommand, runCommand } from './command.ts';

interface Flags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly domain: string;
  readonly secureGRPCAddr?: string;
  readonly grpcAddr?: string;
  readonly httpAddr?: string;
  readonly monitoringAddr?: string;
}

/** `isthmus istiod`: the control plane process, configured by upstream's environment variables and flags. */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('istiod', 'Runs the control plane of one cluster.')
    .option('--kubeconfig <file>', 'kubeconfig of the cluster; default the service account of the pod')
    .option('--context <name>', 'context in the kubeconfig')
    .option('--domain <suffix>', 'DNS domain suffix of the cluster', 'cluster.local')
    .option('--secureGRPCAddr <address>', 'discovery and certificates over TLS; default :15012')
    .option('--grpcAddr <address>', 'the same in plaintext; default 127.0.0.1:15010')
    .option('--httpAddr <address>', 'readiness; default :8080')
    .option('--monitoringAddr <address>', 'metrics and debug pages; default :15014')
    .action(async (flags: Flags) => {
      const log = createLogger('istiod');
      const config = istiodConfig(process.env, { clusterDomain: flags.domain, listen: listenAddresses(flags) });
      using client =
        flags.kubeconfig === undefined
          ? KubeClient.inCluster()
          : KubeClient.fromKubeconfig({ path: flags.kubeconfig, context: flags.context });
      await runUntilStopped(log, (signal) => runIstiod({ client, config, log }, signal));
    });
  await runCommand(command, args);
}

function listenAddresses(flags: Flags): Partial<IstiodConfig['listen']> {
  return {
    ...(flags.secureGRPCAddr !== undefined && { tls: parseListenAddress(flags.secureGRPCAddr, '--secureGRPCAddr') }),
    ...(flags.grpcAddr !== undefined && { plaintext: parseListenAddress(flags.grpcAddr, '--grpcAddr') }),
    ...(flags.httpAddr !== undefined && { readiness: parseListenAddress(flags.httpAddr, '--httpAddr') }),
    ...(flags.monitoringAddr !== undefined && { monitoring: parseListenAddress(flags.monitoringAddr, '--monitoringAddr') }),
  };
}

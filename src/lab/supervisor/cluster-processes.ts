import { readFileSync, writeSync } from 'node:fs';

import { createLogger, runUntilStopped } from '../../core/index.ts';
import { apiServerPort, type ClusterPlan } from '../network/plan.ts';
import { paths } from '../paths.ts';
import { listenerDescriptor, readyDescriptor } from './supervised-process.ts';

/** The processes of one cluster, each started by the supervisor on the cluster's node. */

/** `isthmus lab apiserver`: makes the cluster's keys if they are not there, and serves its API. */
export async function apiServerProcess(): Promise<void> {
  await runUntilStopped(createLogger('apiserver'), async (signal) => {
    const { ensureClusterPki, runApiServer } = await import('../apiserver/index.ts');
    const plan = readPlan();
    await ensureClusterPki(pkiOptions(plan, paths.cluster));
    await runApiServer(
      {
        stateDir: paths.cluster,
        host: plan.nodeAddress,
        port: apiServerPort,
        listenFds: [listenerDescriptor],
        serviceCidr: plan.serviceCidr,
        onReady: sayReady,
      },
      signal,
    );
  });
}

/** `isthmus lab controllers`. */
export async function controllersProcess(): Promise<void> {
  await runUntilStopped(createLogger('controllers'), async (signal) => {
    const [{ KubeClient }, { runControllers }] = await Promise.all([import('../../kube/index.ts'), import('../controllers/index.ts')]);
    const { clusterPkiFiles } = await import('../apiserver/pki/files.ts');
    const plan = readPlan();
    const files = clusterPkiFiles(paths.cluster);
    using client = KubeClient.fromKubeconfig({ path: files.controllerManagerKubeconfig });
    sayReady();
    const { loadBalancerCidr, dnsAddress } = plan;
    await runControllers({ client, rootCa: readFileSync(files.ca, 'utf8'), loadBalancerCidr, dnsAddress }, signal);
  });
}

/** `isthmus lab node`. */
export async function nodeProcess(): Promise<void> {
  await runUntilStopped(createLogger('node'), async (signal) => {
    const [{ KubeClient }, { runNode }] = await Promise.all([import('../../kube/index.ts'), import('../node/run.ts')]);
    const { clusterPkiFiles } = await import('../apiserver/pki/files.ts');
    const files = clusterPkiFiles(paths.cluster);
    using client = KubeClient.fromKubeconfig({ path: files.nodeKubeconfig });
    await runNode(
      { plan: readPlan(), client, tls: { ca: files.ca, cert: files.kubelet, key: files.kubeletKey }, onReady: sayReady },
      signal,
    );
  });
}

/** What a cluster's keys are made for; the same on the host and on the node. */
export function pkiOptions(plan: ClusterPlan, stateDir: string) {
  return {
    stateDir,
    clusterName: plan.name,
    nodeName: plan.nodeName,
    addresses: [plan.nodeAddress, plan.apiServiceAddress],
    port: apiServerPort,
  };
}

function readPlan(): ClusterPlan {
  return JSON.parse(readFileSync(paths.plan, 'utf8')) as ClusterPlan;
}

function sayReady(): void {
  writeSync(readyDescriptor, 'ready\n');
}

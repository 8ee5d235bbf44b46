import { createLogger, systemClock, type Clock } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';
import { clusterDnsController } from './cluster-dns.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { daemonSetController } from './daemonset.ts';
import { deploymentController } from './deployment.ts';
import { disruptionController } from './disruption.ts';
import { endpointsController } from './endpoints.ts';
import { endpointSliceController } from './endpointslice.ts';
import { eventExpiry } from './event-ttl.ts';
import { garbageCollector } from './garbage-collector.ts';
import { loadBalancerController } from './load-balancer.ts';
import { namespaceController } from './namespace-deletion.ts';
import { rootCaController, serviceAccountController } from './namespace-defaults.ts';
import { nodeLifecycleController } from './node-lifecycle.ts';
import { ObjectCaches } from './object-cache.ts';
import { podGarbageCollector } from './pod-gc.ts';
import { replicaSetController } from './replicaset.ts';
import { scheduler } from './scheduler.ts';
import { statefulSetController } from './statefulset.ts';

export interface ControllersOptions {
  /** As `system:kube-controller-manager` (the scheduler is part of it). */
  readonly client: KubeClient;
  /** The cluster's CA, PEM: what pods get as kube-root-ca.crt. */
  readonly rootCa: string;
  /** Where services of type LoadBalancer get their addresses from, such as `172.18.201.0/24`. */
  readonly loadBalancerCidr: string;
  /** ClusterIP of the Service `kube-dns`; without it there is none. */
  readonly dnsAddress?: string;
  /** Default the system's. */
  readonly clock?: Clock;
}

/** Runs all controllers and the scheduler until the signal is aborted. They outlive every failure of the API server. */
export async function runControllers(options: ControllersOptions, signal: AbortSignal): Promise<void> {
  const { client, rootCa, loadBalancerCidr, dnsAddress, clock = systemClock } = options;
  const log = createLogger('controllers');
  const caches = new ObjectCaches(client, log);
  const context: ControllerContext = { client, caches, clock, log };
  const controllers: readonly Controller[] = [
    scheduler(context),
    deploymentController(context),
    replicaSetController(context),
    daemonSetController(context),
    statefulSetController(context),
    endpointSliceController(context),
    endpointsController(context),
    loadBalancerController(context, loadBalancerCidr),
    ...(dnsAddress === undefined ? [] : [clusterDnsController(context, dnsAddress)]),
    serviceAccountController(context),
    rootCaController(context, rootCa),
    namespaceController(context),
    garbageCollector(context),
    disruptionController(context),
    nodeLifecycleController(context),
    podGarbageCollector(context),
    eventExpiry(context),
  ];
  const watching = caches.run(signal);
  await Promise.race([caches.synced(), watching]);
  if (!signal.aborted) log.info({ controllers: controllers.length }, 'caches are filled, controllers start');
  await Promise.all([watching, ...controllers.map((controller) => controller.run(signal))]);
}

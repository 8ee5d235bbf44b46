import { create } from '@bufbuild/protobuf';

import { annotations } from '../api/names.ts';
import {
  LoadBalancing_HealthPolicy as HealthPolicy,
  LoadBalancing_Mode as Mode,
  LoadBalancing_Scope as Scope,
  LoadBalancingSchema,
  type LoadBalancing,
} from '../api/gen/istio/workload_pb.js';

/**
 * Values of trafficDistribution, by lower-case name: endpoints that share more of these with the caller come first.
 * PreferNetwork, PreferRegion and Any are the guide's, PreferCluster is ours; the others are Kubernetes' and Istio's.
 */
const preferences: Readonly<Record<string, readonly Scope[]>> = {
  any: [],
  prefernetwork: [Scope.NETWORK],
  prefercluster: [Scope.NETWORK, Scope.CLUSTER],
  preferregion: [Scope.NETWORK, Scope.REGION],
  preferclose: [Scope.NETWORK, Scope.REGION, Scope.ZONE],
  prefersamezone: [Scope.NETWORK, Scope.REGION, Scope.ZONE],
  prefersamenode: [Scope.NETWORK, Scope.REGION, Scope.ZONE, Scope.SUBZONE, Scope.NODE],
};

type Annotated = { readonly [key: string]: string } | undefined;

/** Which endpoints come first: the field of a Service, else its annotation, else its namespace's; unknown values mean none. */
export function trafficDistribution(field: string | undefined, object: Annotated, namespace: Annotated): LoadBalancing | undefined {
  const value = field ?? object?.[annotations.trafficDistribution] ?? namespace?.[annotations.trafficDistribution];
  const name = value?.toLowerCase() ?? '';
  const routingPreference = Object.hasOwn(preferences, name) ? preferences[name] : undefined;
  if (routingPreference === undefined || routingPreference.length === 0) return undefined;
  return create(LoadBalancingSchema, { mode: Mode.FAILOVER, routingPreference: [...routingPreference] });
}

/** Only endpoints on the caller's node: `internalTrafficPolicy: Local`. */
export function localNodeOnly(): LoadBalancing {
  return create(LoadBalancingSchema, { mode: Mode.STRICT, routingPreference: [Scope.NODE] });
}

/** The connection goes where the caller meant it to: a ServiceEntry with resolution NONE. */
export function passthrough(): LoadBalancing {
  return create(LoadBalancingSchema, { mode: Mode.PASSTHROUGH, healthPolicy: HealthPolicy.ALLOW_ALL });
}

/** The same with unhealthy endpoints too: `publishNotReadyAddresses`. */
export function withUnhealthy(loadBalancing: LoadBalancing | undefined): LoadBalancing {
  return { ...(loadBalancing ?? create(LoadBalancingSchema)), healthPolicy: HealthPolicy.ALLOW_ALL };
}

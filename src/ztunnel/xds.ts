import { fromBinary } from '@bufbuild/protobuf';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import { AddressSchema } from '../api/gen/istio/workload_pb.js';
import { describeError } from '../core/index.ts';
import type { Rejection, ResourceUpdate, TypeSubscription } from '../xds/index.ts';
import type { ZtunnelMetrics } from './metrics.ts';
import { decodeService, decodeWorkload } from './state/decode-address.ts';
import { decodePolicy } from './state/decode-policy.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { Service, Workload } from './state/model.ts';
import type { Policy } from './state/policy.ts';

export const addressType = 'type.googleapis.com/istio.workload.Address';
export const authorizationType = 'type.googleapis.com/istio.security.Authorization';

/**
 * What the node proxy subscribes to: all addresses and all policies, in upstream's order. Each response changes the state
 * in one step; resources that cannot be used are left out and named in the refusal, the others apply.
 */
export function meshSubscriptions(state: MeshState, metrics: Pick<ZtunnelMetrics, 'xdsMessage'>): TypeSubscription[] {
  const counted = (update: ResourceUpdate): ResourceUpdate => {
    metrics.xdsMessage(
      update.typeUrl,
      update.resources.reduce((sum, { body }) => sum + body.length, 0),
    );
    return update;
  };
  return [
    { typeUrl: addressType, handle: (update) => applyAddresses(state, counted(update)) },
    { typeUrl: authorizationType, handle: (update) => applyPolicies(state, counted(update)) },
  ];
}

function applyAddresses(state: MeshState, { resources, removed }: ResourceUpdate): Rejection[] {
  const workloads: Workload[] = [];
  const services: Service[] = [];
  const rejections = decodeEach(resources, ({ body }) => {
    const { type } = fromBinary(AddressSchema, body);
    if (type.case === 'workload') workloads.push(decodeWorkload(type.value));
    else if (type.case === 'service') services.push(decodeService(type.value));
    else throw new Error('neither a workload nor a service');
  });
  state.applyAddresses({ workloads, services, removed });
  return rejections;
}

function applyPolicies(state: MeshState, { resources, removed }: ResourceUpdate): Rejection[] {
  const policies: Policy[] = [];
  const rejections = decodeEach(resources, ({ body }) => policies.push(decodePolicy(fromBinary(AuthorizationSchema, body))));
  state.applyPolicies({ policies, removed });
  return rejections;
}

function decodeEach(resources: ResourceUpdate['resources'], decode: (resource: ResourceUpdate['resources'][number]) => void): Rejection[] {
  const rejections: Rejection[] = [];
  for (const resource of resources) {
    try {
      decode(resource);
    } catch (error) {
      rejections.push({ name: resource.name, reason: describeError(error) });
    }
  }
  return rejections;
}

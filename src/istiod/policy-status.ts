import type { AuthorizationPolicy } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import type { Collection } from '../collections/index.ts';
import type { Logger } from '../core/index.ts';
import { contains, isNotFound, logFailure, WorkQueue, type KubeClient } from '../kube/index.ts';
import type { ConvertedPolicy } from '../mesh/index.ts';

const type = 'ZtunnelAccepted';
const fieldManager = 'istio-ambient-ztunnel-policy';

/** A condition of Istio's kinds: its generation is a string, since int64 is one in protobuf's JSON. */
interface IstioCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: string;
  readonly lastTransitionTime: string;
}

/** Says in the status of each AuthorizationPolicy what ztunnel makes of it, above all what it cannot judge. */
export async function reportPolicies(
  options: {
    readonly client: KubeClient;
    readonly policies: Collection<AuthorizationPolicy>;
    readonly converted: Collection<ConvertedPolicy>;
    readonly log: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { client, policies, converted, log } = options;
  const queue = new WorkQueue({
    concurrency: 1,
    onFailure: logFailure(log, 'policy-status'),
    work: async (key, stop) => {
      const policy = policies.get(key);
      const result = converted.get(key);
      if (policy === undefined || result === undefined) return;
      const existing = policy.status?.conditions ?? [];
      const conditions = conditionsOf(policy, result);
      const isThere = existing.some((condition) => condition.type === type);
      if (conditions.length === 0 ? !isThere : conditions.every((wanted) => existing.some((condition) => contains(condition, wanted))))
        return;
      const { name, namespace = '' } = policy.metadata;
      try {
        const body = { metadata: { name, namespace }, status: { conditions: [...conditions] } };
        await client.apply(resources.authorizationPolicies, body, { subresource: 'status', fieldManager, signal: stop });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
  });
  const stops = [policies, converted].map((collection: Collection<object>) =>
    collection.subscribe((changes) => changes.forEach(({ key }) => queue.add(key))),
  );
  try {
    await queue.run(signal);
  } finally {
    for (const stop of stops) stop();
  }
}

function conditionsOf(policy: AuthorizationPolicy, { authorization, unsupported }: ConvertedPolicy): IstioCondition[] {
  if (authorization === undefined) return [];
  const old = policy.status?.conditions?.find((condition) => condition.type === type);
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const strictly = 'ztunnel sees layer 4 only and fails closed: an ALLOW rule with these allows nothing, a DENY rule denies more';
  return [
    {
      type,
      status: 'True',
      reason: unsupported.length === 0 ? 'Accepted' : 'UnsupportedValue',
      message: unsupported.length === 0 ? 'attached to ztunnel' : `not understood: ${unsupported.join(', ')}; ${strictly}`,
      observedGeneration: String(policy.metadata.generation ?? 0),
      lastTransitionTime: old?.status === 'True' ? (old.lastTransitionTime ?? now) : now,
    },
  ];
}

import { istioNamespace } from '../../../src/api/names.ts';
import { resources } from '../../../src/api/resources.ts';
import { isDeploymentReady } from '../../../src/cli/install/install.ts';
import { waitForObjects, type KubeClient } from '../../../src/kube/index.ts';
import type { TestLab } from '../lab-fixture.ts';
import type { EntryRules } from './expected-entries.ts';

/** Who peers, and what stands beside it. */
export interface PeeringMode {
  readonly name: string;
  /** Why it cannot be tested here. */
  readonly skip: string | false;
  readonly rules: EntryRules;
  /** The mesh into one cluster whose Secret `cacerts` is there. */
  install(lab: TestLab, context: string): Promise<void>;
  /** The Deployment whose pods export, import and write, in istio-system. */
  readonly writers: string;
  /** Label selector of its pods. */
  readonly writerPods: string;
}

/** Our istiod and ztunnel. */
const own: PeeringMode = {
  name: 'own istiod and ztunnel',
  skip: false,
  rules: { placement: 'root' },
  install: async (lab, context) => {
    await lab.isthmus('install', '--context', context);
  },
  writers: 'istiod',
  writerPods: 'app=istiod',
};

const binaries = { istiod: process.env['ISTIOD_BIN'] ?? '', ztunnel: process.env['ZTUNNEL_BIN'] ?? '' };
const missing = [...(binaries.istiod === '' ? ['ISTIOD_BIN'] : []), ...(binaries.ztunnel === '' ? ['ZTUNNEL_BIN'] : [])];

/** Istio's own, unmodified programs, and `isthmus peering` beside them. */
const upstream: PeeringMode = {
  name: "Istio's own istiod and ztunnel, and isthmus peering beside them",
  skip: missing.length > 0 ? `${missing.join(' and ')} not set` : false,
  rules: { placement: 'service' },
  install: async (lab, context) => {
    await lab.isthmus('install', '--context', context, '--istiod-binary', binaries.istiod, '--ztunnel-binary', binaries.ztunnel);
  },
  writers: 'isthmus-peering',
  writerPods: 'app=isthmus-peering',
};

export const modes: readonly PeeringMode[] = [own, upstream];

/** Two replicas of what writes, both ready. */
export async function ensureTwoWriters(client: KubeClient, mode: PeeringMode): Promise<void> {
  const ref = { name: mode.writers, namespace: istioNamespace };
  const { spec } = await client.get(resources.deployments, ref);
  if ((spec?.replicas ?? 1) < 2) {
    await client.patch(resources.deployments, ref, { type: 'merge', body: { spec: { replicas: 2 } } }, { subresource: 'scale' });
  }
  await waitForObjects(
    { client, type: resources.deployments, namespace: istioNamespace, what: `two replicas of ${mode.writers}`, timeout: 60_000 },
    (found) => found.some((one) => one.metadata.name === mode.writers && one.spec?.replicas === 2 && isDeploymentReady(one)),
  );
}

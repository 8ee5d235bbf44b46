import { age, column, define } from './define.ts';
import { endpoint, status } from './shared.ts';

export const workloadEntry = define({
  group: 'networking.istio.io',
  plural: 'workloadentries',
  kind: 'WorkloadEntry',
  shortNames: ['we'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [age, column('Address', '.spec.address')],
  spec: endpoint,
  status,
});

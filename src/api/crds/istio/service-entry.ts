import { atMostOne, every, list, object, oneOfStrings, rule, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { endpoint, portNumber, status, workloadSelector } from './shared.ts';

export const serviceEntry = define({
  group: 'networking.istio.io',
  plural: 'serviceentries',
  kind: 'ServiceEntry',
  shortNames: ['se'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [column('Hosts', '.spec.hosts'), column('Location', '.spec.location'), column('Resolution', '.spec.resolution'), age],
  spec: object(
    {
      addresses: list(string({ maxLength: 64 }), { maxItems: 256 }),
      endpoints: list(endpoint, { maxItems: 4096 }),
      exportTo: list(string()),
      hosts: list(string({ rules: [rule('hostname cannot be wildcard', "self != '*'")] }), { maxItems: 256, minItems: 1 }),
      location: oneOfStrings('MESH_EXTERNAL', 'MESH_INTERNAL'),
      ports: list(
        object(
          { name: string({ maxLength: 256 }), number: portNumber, protocol: string({ maxLength: 256 }), targetPort: portNumber },
          { required: ['number', 'name'] },
        ),
        {
          keys: ['name'],
          maxItems: 256,
          rules: [every('port number cannot be duplicated', 'self.exists_one(other, other.number == item.number)')],
        },
      ),
      resolution: oneOfStrings('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'),
      subjectAltNames: list(string()),
      workloadSelector,
    },
    {
      required: ['hosts'],
      rules: [
        atMostOne('only one of WorkloadSelector or Endpoints can be set', 'workloadSelector', 'endpoints'),
        rule(
          'CIDR addresses are allowed only for NONE/STATIC resolution types',
          "!has(self.addresses) || !self.addresses.exists(item, item.contains('/')) || !has(self.resolution) || self.resolution in ['NONE', 'STATIC']",
        ),
        rule('NONE mode cannot set endpoints', "!has(self.endpoints) || (has(self.resolution) && self.resolution != 'NONE')"),
        rule(
          'DNS_ROUND_ROBIN mode cannot have multiple endpoints',
          "!has(self.endpoints) || !has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || self.endpoints.size() <= 1",
        ),
      ],
    },
  ),
  status,
});

import { list, object, string } from '../schema.ts';
import { age, define } from './define.ts';
import { groupName, kindName } from './shared.ts';

export const referenceGrant = define({
  group: 'gateway.networking.k8s.io',
  plural: 'referencegrants',
  kind: 'ReferenceGrant',
  shortNames: ['refgrant'],
  versions: ['v1', 'v1beta1'],
  storage: 'v1beta1',
  required: ['spec'],
  columns: [age],
  spec: object(
    {
      from: list(
        object(
          {
            group: groupName,
            kind: kindName,
            namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
          },
          { required: ['group', 'kind', 'namespace'] },
        ),
        { atomic: true, maxItems: 16, minItems: 1 },
      ),
      to: list(
        object({ group: groupName, kind: kindName, name: string({ maxLength: 253, minLength: 1 }) }, { required: ['group', 'kind'] }),
        { atomic: true, maxItems: 16, minItems: 1 },
      ),
    },
    { required: ['from', 'to'] },
  ),
});

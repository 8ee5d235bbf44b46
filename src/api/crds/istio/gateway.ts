import { integer, list, map, object, string } from '../schema.ts';
import { define } from './define.ts';
import { status, tls } from './shared.ts';

export const gateway = define({
  group: 'networking.istio.io',
  plural: 'gateways',
  kind: 'Gateway',
  shortNames: ['gw'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  columns: [],
  spec: object({
    selector: map(string()),
    servers: list(
      object(
        {
          bind: string(),
          defaultEndpoint: string(),
          hosts: list(string()),
          name: string(),
          port: object(
            {
              name: string(),
              number: integer({ maximum: 4294967295, minimum: 0 }),
              protocol: string(),
              targetPort: integer({ maximum: 4294967295, minimum: 0 }),
            },
            { required: ['number', 'protocol', 'name'] },
          ),
          tls,
        },
        { required: ['port', 'hosts'] },
      ),
    ),
  }),
  status,
});

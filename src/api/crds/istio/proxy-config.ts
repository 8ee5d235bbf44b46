import { int32, map, object, string } from '../schema.ts';
import { define } from './define.ts';
import { selector, status } from './shared.ts';

export const proxyConfig = define({
  group: 'networking.istio.io',
  plural: 'proxyconfigs',
  kind: 'ProxyConfig',
  versions: ['v1beta1'],
  storage: 'v1beta1',
  columns: [],
  spec: object({
    concurrency: int32({ minimum: 0, nullable: true }),
    environmentVariables: map(string({ maxLength: 2048 })),
    image: object({ imageType: string() }),
    selector,
  }),
  status,
});

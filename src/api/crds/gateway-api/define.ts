import { defineCrd, type Crd, type Definition } from '../crd.ts';

export { age, column } from '../crd.ts';

/** The release of the Gateway API whose standard channel these definitions have the shape of. */
export const bundleVersion = 'v1.5.0';

export function define(definition: Definition): Crd {
  return defineCrd(definition, {
    annotations: {
      // Required of groups under k8s.io: where their API was approved.
      'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/4530',
      'gateway.networking.k8s.io/bundle-version': bundleVersion,
      'gateway.networking.k8s.io/channel': 'standard',
    },
    categories: ['gateway-api'],
  });
}

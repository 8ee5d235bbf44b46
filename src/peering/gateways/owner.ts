import { gatewayControllers } from '../../api/names.ts';

/** In whose name gateways are run. */
export interface GatewayOwner {
  /** `controllerName` of the GatewayClass istio-eastwest. */
  readonly controllerName: string;
  /** Value of the label gateway.istio.io/managed, by which one finds, and the controller knows, what it made for a Gateway. */
  readonly managedBy: string;
  /** Of server-side apply. */
  readonly fieldManager: string;
  /** Whether the class istio-remote and the status of its Gateways are ours too. */
  readonly remotes: boolean;
}

/** istiod, under upstream's names. */
export const istiodOwner: GatewayOwner = {
  controllerName: gatewayControllers.eastWest,
  managedBy: 'istio.io-eastwest-controller',
  fieldManager: 'istio.io/gateway-controller',
  remotes: true,
};

/**
 * A process beside an istiod of somebody else. That istiod makes the class istio-remote and states the status of its Gateways, and may run
 * east-west gateways of its own under upstream's names (AMBIENT_ENABLE_MULTI_NETWORK): with these, the two never run one Gateway.
 */
export const peeringOwner: GatewayOwner = {
  controllerName: 'isthmus.dev/eastwest-controller',
  managedBy: 'isthmus.dev-eastwest-controller',
  fieldManager: 'isthmus-peering',
  remotes: false,
};

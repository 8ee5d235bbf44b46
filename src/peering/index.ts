/**
 * What crosses from one cluster to another: the services that a cluster exports, the links to its peers, and the entries that
 * stand for what they export. Traffic does not come through here, and proxies are not told anything from here.
 */
export { Peering, type PeeringConfig, type PeeringInputs } from './peering.ts';
export type { PeeringOptions } from './options.ts';
export type { PeeringCredentials } from './peer-link.ts';
export { peeringIdentity } from './peer-identity.ts';
export { readPeerGateway, type PeerGateway } from './peer-gateway.ts';
export { AddressRanges } from './address-ranges.ts';
export { namespacesReady, resourcesAccepted } from './gateway-status.ts';
export { flatEntryName, gatewayEntryName, serviceEntryName, serviceHash } from './entry-names.ts';
export { controlGateways, type GatewayConfig, type GatewayControllerOptions } from './gateways/controller.ts';
export { offerGatewayClasses } from './gateways/classes.ts';
export { istiodOwner, type GatewayOwner } from './gateways/owner.ts';
export { peeringProcessConfig, type PeeringProcessConfig, type PeeringProcessFlags } from './process/config.ts';
export { runPeeringProcess, type PeeringProcessListening, type PeeringProcessOptions } from './process/run.ts';
export { createPeeringMetrics, type PeeringMetrics } from './metrics.ts';

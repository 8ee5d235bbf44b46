/**
 * Delta ADS, the discovery protocol of Istio and Envoy, from both ends: tables of resources, a server that sends them, a client
 * that keeps up with one. The types of the resources may not enter: here they are bytes under a name.
 */
export { ResourceTable, type Resource, type ResourceInput, type TableListener } from './resource-table.ts';
export { XdsServer, type XdsConnection, type XdsServerOptions, type XdsTypeState } from './server.ts';
export { GrpcServer, type GrpcServerOptions, type ServerTls } from './grpc-server.ts';
export { callerOf, type CallContext } from './call-context.ts';
export {
  XdsClient,
  type ReceivedResource,
  type Rejection,
  type ResourceUpdate,
  type TypeSubscription,
  type XdsClientOptions,
  type XdsClientState,
} from './client.ts';
export { connectGrpc, type ClientTls, type GrpcConnection, type GrpcConnectionOptions, type PeerChain } from './client-transport.ts';
export { controlPlaneTls, findPath, readRoots, readToken } from './control-plane-access.ts';
export { requestCertificate, type CertificateClientOptions } from './certificate-client.ts';
export type { GrpcCall, GrpcMethod } from './grpc-call.ts';

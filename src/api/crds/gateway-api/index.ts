export { backendTLSPolicy } from './backend-tls-policy.ts';
export { gatewayClass } from './gateway-class.ts';
export { gateway } from './gateway.ts';
export { grpcRoute } from './grpc-route.ts';
export { httpRoute } from './http-route.ts';
export { listenerSet } from './listener-set.ts';
export { referenceGrant } from './reference-grant.ts';
export { tlsRoute } from './tls-route.ts';

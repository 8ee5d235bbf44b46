/**
 * HBONE: HTTP/2 CONNECT tunnels over mutual TLS with SPIFFE identities; frames, header compression, flow control, a pool
 * for clients, a server, and copying between tunnels and TCP sockets. What a destination means, who may reach it and how
 * it is logged may not enter: that is the node proxy's.
 */
export { relaySockets, relayTunnel, type RelayOptions } from './relay.ts';
export { TunnelPool, type TunnelKey, type TunnelPoolOptions } from './pool.ts';
export { StatusError, Tunnel, type Connected, type TunnelOptions } from './tunnel.ts';
export { HboneServer, type HboneServerOptions, type IncomingConnect } from './server.ts';
export { trustDomainOf, uriNames, type ConnectionEnds, type TlsCredentials } from './tls.ts';
export type { KeepaliveOptions } from './keepalive.ts';
export type { TunnelStream } from './stream.ts';
export type { HeaderField } from './hpack/dynamic-table.ts';

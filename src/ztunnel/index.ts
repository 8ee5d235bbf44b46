/**
 * The node proxy (ztunnel): the state of the mesh, where a connection goes and whether it may, the proxies of the pods of a
 * node, and the gateway at a cluster's edge. How tunnels work on the wire (hbone) and how pods are redirected (cni) may not
 * enter.
 */
import type { ZtunnelConfig } from './config.ts';

export { configFromEnvironment, type ZtunnelConfig } from './config.ts';
export { startGateway, type Gateway, type GatewayOptions, type GatewayPorts } from './gateway.ts';

/** Runs the node proxy until it is told to stop. Loaded on demand: the gateway needs nothing of it. */
export async function runZtunnel(config: ZtunnelConfig): Promise<void> {
  const { runZtunnel: run } = await import('./process.ts');
  await run(config);
}

/**
 * The node agent (DaemonSet istio-cni-node) and the CNI plugin: which pods are in the mesh, the redirection in their network
 * namespaces, and handing them to ztunnel. What ztunnel does with them, and the control plane, may not enter: they meet
 * on the ZDS socket and at the API server.
 */
export { runCniAgent, type CniAgentOptions } from './agent.ts';
export { configFromEnvironment, type CniConfig } from './config.ts';
export { main as runCniPlugin } from './plugin/plugin.ts';

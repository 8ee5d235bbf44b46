/**
 * The control plane process: reads its cluster, derives the mesh, tells proxies of it, signs their certificates, runs
 * the gateways that Gateways ask for. Rules of the mesh belong into mesh, those between clusters into peering; the
 * data plane and the lab may not enter.
 */
export { istiodConfig, type IstiodConfig } from './config.ts';
export { runIstiod, type IstiodListening, type IstiodOptions } from './run.ts';

import type { Crd } from './crd.ts';
import * as gatewayApi from './gateway-api/index.ts';
import * as istio from './istio/index.ts';

export type { Crd, CrdVersion, PrinterColumn } from './crd.ts';
export type { Rule, Schema } from './schema.ts';

/**
 * The CustomResourceDefinitions of Istio that a mesh without sidecars or with them reads, as upstream's `base` chart installs them: names, versions,
 * columns, labels and rules are upstream's; descriptions of fields are left out.
 */
export function istioCrds(): Crd[] {
  return Object.values(istio);
}

/** The CustomResourceDefinitions of the Gateway API's standard channel for gateways and HTTP, gRPC and TLS routes. */
export function gatewayApiCrds(): Crd[] {
  return Object.values(gatewayApi);
}

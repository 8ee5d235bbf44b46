/**
 * What the lab's API server serves, as data and pure functions: the resources and their discovery documents, the types behind
 * them (decoding, defaults, validation, merging), CustomResourceDefinitions, tables, OpenAPI and protobuf bodies.
 * No request, no storage and no clock may enter.
 */
import { builtinResources } from './resources.ts';
import type { AnyObject } from '../../../api/kubernetes.ts';
import type { FieldError, ResourceInfo } from './types.ts';

export type * from './types.ts';
export { builtinResources, storageVersionHash } from './resources.ts';
export { aggregatedDiscovery, apiGroup, apiGroupList, apiResourceList, apiVersions, compareVersions, groupVersionOf } from './discovery.ts';
export { schemaFor } from './builtin-schema.ts';
export { DecodeError } from './decode.ts';
export { toTable, type TableOptions } from './tables/index.ts';
export { crdSchema } from './crd/custom-schema.ts';
export { crdToResourceInfo } from './crd/resource-info.ts';
export { aggregate as aggregateFieldErrors } from './validation/errors.ts';

const soon = (): never => {
  throw new Error('not written yet');
};
/** GET /openapi/v3 */
export const openApiV3Index: (resources: readonly ResourceInfo[], crds: readonly AnyObject[]) => unknown = soon;
/** GET /openapi/v3/api/v1 ('v1'), /openapi/v3/apis/apps/v1 ('apps/v1'); undefined when not served. */
export const openApiV3: (groupVersion: string, resources: readonly ResourceInfo[], crds: readonly AnyObject[]) => unknown = soon;
/** GET /openapi/v2 as JSON. */
export const openApiV2: (resources: readonly ResourceInfo[], crds: readonly AnyObject[]) => unknown = soon;

/** Reads a body of content type application/vnd.kubernetes.protobuf; throws when it is none or of a kind that is not known. */
export const decodeProtobuf: (bytes: Uint8Array) => AnyObject = soon;

/** Defaults of a CustomResourceDefinition are part of its own schema ({@link schemaFor}); this is its validation. */
export const validateCrd: (crd: AnyObject, old?: AnyObject) => FieldError[] = soon;

void builtinResources;

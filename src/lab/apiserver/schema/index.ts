/**
 * What the lab's API server serves, as data and pure functions: the resources and their discovery documents, the types behind
 * them (decoding, defaults, validation, merging), CustomResourceDefinitions, tables, OpenAPI and protobuf bodies.
 * No request, no storage and no clock may enter.
 */
export type * from './types.ts';
export { builtinResources, storageVersionHash } from './resources.ts';
export { aggregatedDiscovery, apiGroup, apiGroupList, apiResourceList, apiVersions, compareVersions, groupVersionOf } from './discovery.ts';
export { schemaFor } from './builtin-schema.ts';
export { DecodeError } from './decode.ts';
export { openApiV2, openApiV3, openApiV3Index } from './openapi/index.ts';
export { encodeOpenApiV2, openApiV2Protobuf, wantsOpenApiV2Protobuf } from './openapi/v2-protobuf.ts';
export { decodeProtobuf } from './protobuf.ts';
export { toTable, type TableOptions } from './tables/index.ts';
export { validateCrd } from './crd/definition.ts';
export { crdSchema } from './crd/custom-schema.ts';
export { crdToResourceInfo } from './crd/resource-info.ts';
export { aggregate as aggregateFieldErrors } from './validation/errors.ts';

/** What older clients ask /openapi/v2 for; kubectl still does, for kinds that are not in /openapi/v3. */
export const openApiV2Protobuf = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/** Whether a client takes the protobuf form: it names it with `@` between name and version. */
export function wantsOpenApiV2Protobuf(accept: string | undefined): boolean {
  return accept !== undefined && accept.includes('com.github.proto-openapi.spec.v2');
}

/**
 * The swagger document in protobuf (gnostic's openapi_v2.Document), without paths and models: a client that looks a kind up in it
 * after it was not in /openapi/v3 learns that the kind is not here either.
 */
export function encodeOpenApiV2({ title, version }: { readonly title: string; readonly version: string }): Buffer {
  const info = Buffer.concat([field(1, Buffer.from(title)), field(2, Buffer.from(version))]);
  return Buffer.concat([field(1, Buffer.from('2.0')), field(2, info)]);
}

/** A length-delimited field; all of these are shorter than 128 bytes. */
function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
}

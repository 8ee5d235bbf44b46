/** What a request is about, read from its method and path alone (apiserver's RequestInfo). */
export interface RequestInfo {
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method in small letters outside of resources. */
  readonly verb: string;
  readonly path: string;
  /** Absent for paths that are no resource's: discovery, health, OpenAPI. */
  readonly resource: ResourceRequest | undefined;
}

export interface ResourceRequest {
  readonly group: string;
  readonly version: string;
  /** Set for everything within a namespace, and for a namespace itself. */
  readonly namespace: string | undefined;
  readonly plural: string;
  readonly subresource: string | undefined;
  readonly name: string | undefined;
}

const verbs: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  HEAD: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** `/api/<version>/…` and `/apis/<group>/<version>/…`. */
export function parseRequest(method: string, url: URL): RequestInfo {
  const parts = url.pathname.split('/').filter((part) => part !== '');
  const resource = parseResource(parts.map(decodeSegment));
  if (resource === undefined) return { verb: method.toLowerCase(), path: url.pathname, resource };
  let verb = verbs[method] ?? method.toLowerCase();
  if (resource.name === undefined) {
    if (verb === 'get') verb = isTrue(url.searchParams.get('watch')) ? 'watch' : 'list';
    else if (verb === 'delete') verb = 'deletecollection';
  }
  return { verb, path: url.pathname, resource };
}

/** A query parameter that is a bool, as Go reads it; a bare `?watch` is true. */
export function isTrue(value: string | null): boolean {
  return value !== null && !['false', '0', 'f', 'F', 'FALSE', 'False'].includes(value);
}

function parseResource(parts: readonly string[]): ResourceRequest | undefined {
  const core = parts[0] === 'api';
  if (!core && parts[0] !== 'apis') return undefined;
  const group = core ? '' : parts[1];
  const version = core ? parts[1] : parts[2];
  let rest = parts.slice(core ? 2 : 3);
  if (group === undefined || version === undefined || rest.length === 0) return undefined;
  let namespace: string | undefined;
  if (rest[0] === 'namespaces' && rest.length > 1) {
    namespace = rest[1];
    const ofNamespaceItself = rest.length === 2 || (rest.length === 3 && (rest[2] === 'status' || rest[2] === 'finalize'));
    if (!ofNamespaceItself) rest = rest.slice(2);
  }
  const [plural, name, ...subresource] = rest;
  if (plural === undefined) return undefined;
  return { group, version, namespace, plural, name, subresource: subresource.length === 0 ? undefined : subresource.join('/') };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

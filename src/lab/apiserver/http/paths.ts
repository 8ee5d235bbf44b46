import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ServiceAccountTokens } from '../auth/tokens.ts';
import type { Registry } from '../registry.ts';
import {
  aggregatedDiscovery,
  apiGroup,
  apiGroupList,
  apiResourceList,
  apiVersions,
  encodeOpenApiV2,
  openApiV2,
  openApiV2Protobuf,
  openApiV3,
  openApiV3Index,
  wantsOpenApiV2Protobuf,
} from '../schema/index.ts';
import { methodNotAllowed } from '../status.ts';
import { wantsAggregatedDiscovery } from './negotiate.ts';
import { sendJsonText, sendText } from './respond.ts';

export interface PathCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly registry: Registry;
  readonly tokens: ServiceAccountTokens;
  /** Under which clients reach the server, `host:port`. */
  readonly serverAddress: string;
}

/** The Kubernetes version whose API this server has: what the kinds and answers are modelled on. */
const version = {
  major: '1',
  minor: '36',
  emulationMajor: '1',
  emulationMinor: '36',
  minCompatibilityMajor: '1',
  minCompatibilityMinor: '35',
  gitVersion: 'v1.36.3',
  gitCommit: '$Format:%H$',
  gitTreeState: '',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'go1.26.8',
  compiler: 'gc',
  platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
};

/** Serves what is no resource: discovery, OpenAPI, health, version, keys. */
export function handlePath(call: PathCall): void {
  const { request, response, path, registry } = call;
  if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
  const health = /^\/(?:healthz|livez|readyz)(?:\/ping)?$/.test(path);
  if (health) {
    sendText(response, 200, 'ok');
    return;
  }
  const aggregated = (path === '/api' || path === '/apis') && wantsAggregatedDiscovery(request.headers.accept);
  if (aggregated) {
    const json = JSON.stringify(aggregatedDiscovery(path, registry.resources()));
    response.writeHead(200, {
      'content-type': 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
      vary: 'Accept',
    });
    response.end(json);
    return;
  }
  if (path === '/openapi/v2' && wantsOpenApiV2Protobuf(request.headers.accept)) {
    const content = encodeOpenApiV2({ title: 'Kubernetes', version: version.gitVersion });
    response.writeHead(200, { 'content-type': openApiV2Protobuf, 'content-length': content.length, vary: 'Accept' });
    response.end(content);
    return;
  }
  const document = documentAt(call);
  if (document === undefined) sendText(response, 404, '404 page not found\n');
  else sendJsonText(response, 200, typeof document === 'string' ? document : JSON.stringify(document));
}

function documentAt({ path, registry, tokens, serverAddress }: PathCall): unknown {
  const resources = registry.resources();
  const parts = path.split('/').filter((part) => part !== '');
  const [root, ...rest] = parts;
  switch (root) {
    case undefined:
      return { paths: ['/api', '/api/v1', '/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'] };
    case 'version':
      return rest.length === 0 ? version : undefined;
    case 'api':
      return rest.length === 0
        ? apiVersions({ serverAddress })
        : rest.length === 1 && rest[0] === 'v1'
          ? apiResourceList('v1', resources)
          : undefined;
    case 'apis':
      if (rest.length === 0) return apiGroupList(resources);
      return rest.length === 1 ? apiGroup(rest[0] ?? '', resources) : apiResourceList(rest.join('/'), resources);
    case 'openapi':
      return openApi(rest, registry);
    case 'openid':
      return path === '/openid/v1/jwks' ? tokens.keySet() : undefined;
    case '.well-known':
      return path === '/.well-known/openid-configuration' ? openIdConfiguration(tokens.issuer) : undefined;
    default:
      return undefined;
  }
}

function openApi([version, ...rest]: readonly string[], registry: Registry): unknown {
  const resources = registry.resources();
  const definitions = registry.definitions();
  if (version === 'v2' && rest.length === 0) return openApiV2(resources, definitions);
  if (version !== 'v3') return undefined;
  if (rest.length === 0) return openApiV3Index(resources, definitions);
  const groupVersion =
    rest[0] === 'api' && rest.length === 2 ? rest[1] : rest[0] === 'apis' && rest.length === 3 ? rest.slice(1).join('/') : undefined;
  return groupVersion === undefined ? undefined : openApiV3(groupVersion, resources, definitions);
}

function openIdConfiguration(issuer: string): unknown {
  return {
    issuer,
    jwks_uri: `${issuer}/openid/v1/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  };
}

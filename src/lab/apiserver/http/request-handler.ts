import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import { describeError, type Logger } from '../../../core/index.ts';
import { authenticate, impersonate } from '../auth/authenticate.ts';
import { authorizeRequest } from '../auth/authorize.ts';
import type { Rbac } from '../auth/rbac.ts';
import type { ServiceAccountTokens } from '../auth/tokens.ts';
import type { UserInfo } from '../auth/user.ts';
import { parseRequest, type RequestInfo } from '../request-info.ts';
import type { Cluster } from '../rest/cluster.ts';
import { find } from '../rest/update.ts';
import { parseFieldSelector } from '../selectors/field-selector.ts';
import { badRequest, internalError, methodNotAllowed, StatusError } from '../status.ts';
import type { KubeletProxy } from './kubelet-proxy.ts';
import { handlePath } from './paths.ts';
import { handleResource, type ResourceCall } from './resource-handler.ts';
import { sendError, sendText } from './respond.ts';
import { handleReview } from './reviews.ts';
import { handleScale } from './scale.ts';
import { handleBinding, handleEviction, handleFinalize, handleTokenRequest } from './subresources.ts';

/** What the server's requests are answered with. */
export interface RequestHandlerOptions {
  readonly cluster: Cluster;
  readonly rbac: Rbac;
  readonly tokens: ServiceAccountTokens;
  readonly kubelets: KubeletProxy;
  /** Under which clients reach the server, `host:port`. */
  readonly serverAddress: string;
  /** Hears of every request of a known user when its answer, or the watch, has ended. */
  readonly audit?: ((event: AuditEvent) => void) | undefined;
  readonly log: Logger;
}

/** A line of an audit log: who asked for what, and what came of it. The fields are those of audit.k8s.io/v1. */
export interface AuditEvent {
  readonly user: { readonly username: string };
  readonly verb: string;
  readonly requestURI: string;
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource: string;
    readonly apiGroup?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly subresource?: string;
  };
  readonly annotations: { readonly 'authorization.k8s.io/decision': 'allow' | 'forbid' };
  readonly responseStatus: { readonly code: number };
}

/** From a request on the wire to the operation that it asks for: who, may they, what. */
export class RequestHandler {
  readonly #options: RequestHandlerOptions;

  constructor(options: RequestHandlerOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { log } = this.#options;
    // A client that goes while it is answered concerns nobody else.
    response.on('error', (error) => {
      log.debug({ url: request.url, error: describeError(error) }, 'an answer broke off');
    });
    try {
      const url = requestUrl(request);
      const { info, user } = this.#identify(request, url);
      this.#audit(request, response, info, user);
      authorizeRequest(this.#options.rbac, user, info, selectedName(info, url));
      if (info.resource === undefined) {
        const { cluster, tokens, serverAddress } = this.#options;
        handlePath({ request, response, path: info.path, registry: cluster.registry, tokens, serverAddress });
        return;
      }
      const call = this.#call(request, response, url, info, user);
      if (call === undefined) sendText(response, 404, '404 page not found\n');
      else await this.#dispatch(call);
    } catch (error) {
      const status = error instanceof StatusError ? error : internalError(describeError(error));
      if (!(error instanceof StatusError)) {
        if (response.destroyed) return;
        log.error(
          { method: request.method, url: request.url, error: describeError(error), stack: (error as Error).stack },
          'a request failed',
        );
      }
      if (response.headersSent) response.destroy();
      else sendError(response, status);
      // A body that nobody read would be taken for the next request.
      if (!request.complete) request.resume();
    }
  }

  /** A request that wants another protocol: only pods/exec does, with WebSocket. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    try {
      const url = requestUrl(request);
      const { info, user } = this.#identify(request, url);
      authorizeRequest(this.#options.rbac, user, info, selectedName(info, url));
      const target = info.resource;
      const { cluster, kubelets } = this.#options;
      const served = target === undefined ? undefined : cluster.registry.find(target.group, target.version, target.plural);
      if (target?.subresource !== 'exec' || served?.bucket !== 'pods.') throw badRequest('this request cannot be upgraded');
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
        throw badRequest(`unable to upgrade connection: ${request.headers.upgrade ?? ''} is not spoken here, only WebSocket`);
      }
      const pod = find(cluster, served, target.namespace, target.name ?? '');
      await kubelets.exec(pod, request, url.searchParams, socket, head);
    } catch (error) {
      const status = error instanceof StatusError ? error : internalError(describeError(error));
      const body = JSON.stringify(status.body());
      const lines = [
        `HTTP/1.1 ${String(status.code)} ${status.reason ?? 'Error'}`,
        'content-type: application/json',
        `content-length: ${String(Buffer.byteLength(body))}`,
        'connection: close',
      ];
      socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
    }
  }

  /** Who asks for what; throws the API's 401, and 403 for who may not be whom they say. */
  #identify(request: IncomingMessage, url: URL): { readonly info: RequestInfo; readonly user: UserInfo } {
    const { cluster, rbac, tokens } = this.#options;
    const info = parseRequest(request.method ?? 'GET', url);
    return { info, user: impersonate(request, authenticate(request, tokens, cluster.now()), rbac) };
  }

  #audit(request: IncomingMessage, response: ServerResponse, { verb, resource }: RequestInfo, { username }: UserInfo): void {
    const { audit } = this.#options;
    if (audit === undefined) return;
    const { 'user-agent': userAgent } = request.headers;
    const { plural, group, namespace, name, subresource } = resource ?? {};
    const objectRef = plural !== undefined && {
      resource: plural,
      ...(group !== undefined && group !== '' && { apiGroup: group }),
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
      ...(subresource !== undefined && { subresource }),
    };
    response.once('close', () => {
      const code = response.statusCode;
      audit({
        user: { username },
        verb,
        requestURI: request.url ?? '',
        ...(userAgent !== undefined && { userAgent }),
        ...(objectRef !== false && { objectRef }),
        annotations: { 'authorization.k8s.io/decision': code === 403 ? 'forbid' : 'allow' },
        responseStatus: { code },
      });
    });
  }

  /** Undefined when nothing is served there. */
  #call(request: IncomingMessage, response: ServerResponse, url: URL, info: RequestInfo, user: UserInfo): ResourceCall | undefined {
    const { cluster } = this.#options;
    const wanted = info.resource;
    const resource = wanted === undefined ? undefined : cluster.registry.find(wanted.group, wanted.version, wanted.plural);
    if (wanted === undefined || resource === undefined) return undefined;
    const { namespaced } = resource.info;
    // Names of namespaced objects need their namespace; cluster-scoped ones are in none (but a namespace is in itself).
    if (namespaced && wanted.namespace === undefined && wanted.name !== undefined) return undefined;
    if (!namespaced && wanted.namespace !== undefined && resource.bucket !== 'namespaces.') return undefined;
    if (namespaced && wanted.namespace === undefined && info.verb === 'create') throw methodNotAllowed();
    const { subresource } = wanted;
    if (subresource !== undefined && !resource.info.subresources.some(({ name }) => name === subresource)) return undefined;
    const target = { ...wanted, namespace: namespaced ? wanted.namespace : undefined };
    return { cluster, rbac: this.#options.rbac, request, response, url, info, target, resource, user };
  }

  #dispatch(call: ResourceCall): Promise<void> {
    const { rbac, tokens, kubelets } = this.#options;
    const { cluster, target, resource, info, url, response } = call;
    const { group } = resource.info;
    if (group === 'authentication.k8s.io' || group === 'authorization.k8s.io') return handleReview(call, rbac, tokens);
    switch (target.subresource) {
      case undefined:
      case 'status':
        return handleResource(call);
      case 'scale':
        return handleScale(call);
      case 'binding':
        return handleBinding(call);
      case 'eviction':
        return handleEviction(call);
      case 'finalize':
        return handleFinalize(call);
      case 'token':
        return handleTokenRequest(call, tokens);
      case 'log': {
        if (info.verb !== 'get') throw methodNotAllowed();
        const pod = find(cluster, resource, target.namespace, target.name ?? '');
        return kubelets.logs(pod, url.searchParams, response);
      }
      case 'exec':
        throw badRequest('unable to upgrade: missing upgrade headers in request');
      default:
        throw methodNotAllowed();
    }
  }
}

function requestUrl(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'https://kubernetes');
  } catch {
    throw badRequest('the request has no valid path');
  }
}

/** A list or watch of one object by name may be allowed by name. */
function selectedName({ resource, verb }: RequestInfo, url: URL): string | undefined {
  if (resource === undefined || (verb !== 'list' && verb !== 'watch')) return undefined;
  const text = url.searchParams.get('fieldSelector') ?? '';
  if (text === '') return undefined;
  try {
    return parseFieldSelector(text, resource).name;
  } catch {
    return undefined;
  }
}

import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';

import type { Node } from '../api/gen/envoy/discovery_pb.js';
import { IsthmusError, type Logger } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { certificateServiceRoutes } from '../pki/index.ts';
import { callerOf, XdsServer, type ResourceTable } from '../xds/index.ts';
import type { AuthoritySource } from './authority.ts';
import { authenticateCaller, type Caller } from './callers.ts';
import type { IstiodConfig } from './config.ts';
import type { NodeAuthorizer } from './node-authorizer.ts';
import { nodeKey } from './tables.ts';

export interface DiscoveryOptions {
  readonly client: KubeClient;
  readonly config: IstiodConfig;
  /** In the order in which a change goes out. */
  readonly tables: readonly ResourceTable[];
  readonly authority: AuthoritySource;
  readonly nodes: NodeAuthorizer;
  readonly onRefusedCaller: () => void;
  readonly onRejectedResponse: (typeUrl: string) => void;
  /** Whether a caller may have a type that is not for every proxy of the mesh: undefined leaves it to the rules here. */
  readonly authorizeType?: (caller: Caller, typeUrl: string) => true | string | undefined;
  readonly log: Logger;
}

/** What istiod serves over gRPC: delta discovery and certificates, to callers that prove who they are. */
export function discoveryServices(options: DiscoveryOptions) {
  const { client, config, tables, authority, nodes, log } = options;
  const { trustDomain, tokenAudiences } = config;
  const authenticate = async (context: Parameters<typeof authenticateCaller>[0]): Promise<Caller> => {
    try {
      return await authenticateCaller(context, { client, trustDomain, tokenAudiences });
    } catch (error) {
      options.onRefusedCaller();
      throw error;
    }
  };
  const xds = new XdsServer<Caller>({
    tables,
    authenticate,
    authorize: ({ caller, node, typeUrl }) => {
      const special = options.authorizeType?.(caller, typeUrl);
      return special ?? isWhoItSays(caller, node);
    },
    implicitKeys: ({ node }) => {
      const name = metadataText(node, 'NODE_NAME');
      return name === undefined ? [] : [nodeKey(name)];
    },
    onRejected: ({ node }, typeUrl, message) => {
      options.onRejectedResponse(typeUrl);
      log.warn({ node: node?.id ?? '', typeUrl, error: message }, 'response refused by client');
    },
    onConnect: ({ id, caller, remoteAddress }) =>
      log.info({ connection: id, identity: caller.identity ?? '', remoteAddress }, 'discovery client connected'),
    onDisconnect: ({ id, node }) => log.info({ connection: id, node: node?.id ?? '' }, 'discovery client gone'),
    log,
  });
  const certificates = certificateServiceRoutes({
    authority: () => authority.current,
    trustDomain,
    authenticate: async (context: HandlerContext) => {
      const caller = await authenticate(callerOf(context));
      // Whoever reaches the plaintext listener has no identity that could be certified.
      if (caller.identity === undefined)
        throw new IsthmusError('ISTIOD_CALLER_UNKNOWN', 'certificates are not given to callers without an identity');
      return caller;
    },
    authorizeImpersonation: (caller, identity) => nodes.authorize(caller, identity),
    log,
  });
  return { xds, routes: [xds.routes, certificates] };
}

/** A proxy may only speak for the account it proved to be (upstream's PILOT_ENABLE_XDS_IDENTITY_CHECK). */
function isWhoItSays(caller: Caller, node: Node | undefined): true | string {
  if (caller.via === 'loopback') return true;
  if (node === undefined || node.id.split('~').length !== 4) {
    throw new ConnectError('the first request needs a node id of the form type~ip~name~domain', Code.InvalidArgument);
  }
  const namespace = metadataText(node, 'NAMESPACE');
  const account = metadataText(node, 'SERVICE_ACCOUNT');
  if (namespace !== undefined && namespace !== caller.account.namespace) return `${caller.identity} may not act for namespace ${namespace}`;
  if (account !== undefined && account !== caller.account.name) return `${caller.identity} may not act for service account ${account}`;
  return true;
}

function metadataText(node: Node | undefined, name: string): string | undefined {
  const value = node?.metadata?.[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

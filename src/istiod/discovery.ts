import type { X509Certificate } from 'node:crypto';

import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';

import type { Node } from '../api/gen/envoy/discovery_pb.js';
import { IsthmusError, type Logger } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { certificateServiceRoutes, issuerOf, publicKeySha256 } from '../pki/index.ts';
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
  /** Types for peers' control planes only, and who of them may have these. */
  readonly peering: { serves(typeUrl: string): boolean; authorize(certificate: X509Certificate | undefined): true | string };
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
      if (options.peering.serves(typeUrl)) return options.peering.authorize('certificate' in caller ? caller.certificate : undefined);
      return isOfThisCluster(caller, authority.current.fingerprint) ?? isWhoItSays(caller, node);
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
      if (caller.identity === undefined)
        throw new IsthmusError('ISTIOD_CALLER_UNKNOWN', 'certificates are not given on the plaintext listener');
      // Signed by us, a peer's certificate would speak for this cluster.
      const refusal = isOfThisCluster(caller, authority.current.fingerprint);
      if (refusal !== undefined) throw new IsthmusError('ISTIOD_CALLER_UNKNOWN', refusal);
      return caller;
    },
    authorizeImpersonation: (caller, identity) => nodes.authorize(caller, identity),
    log,
  });
  return { xds, services: { methods: [xds.method], routes: [certificates] } };
}

/**
 * Clusters share roots, and mostly a trust domain: what tells this cluster's own from a peer's is who signed. A peer gets
 * what is exported to it, not the mesh. Undefined when the caller is of this cluster.
 */
function isOfThisCluster(caller: Caller, fingerprint: string): string | undefined {
  if (!('certificate' in caller)) return undefined;
  const issuer = issuerOf(caller.certificate);
  const own = caller.via === 'certificate' && issuer !== undefined && publicKeySha256(issuer) === fingerprint;
  return own ? undefined : `${caller.identity} is not of this cluster`;
}

/** A proxy may only speak for the account it proved to be (upstream's PILOT_ENABLE_XDS_IDENTITY_CHECK). */
function isWhoItSays(caller: Caller, node: Node | undefined): true | string {
  if (!('account' in caller)) return true;
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

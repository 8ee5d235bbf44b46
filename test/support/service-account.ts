import type { KubeObject } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import { KubeClient, type ObjectRef } from '../../src/kube/index.ts';
import type { ApiServer } from './api-server.ts';

const permissionKinds = new Set(['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding']);

/**
 * A client that is a ServiceAccount, with what the permissions among `manifests` allow it and nothing more: as a component in its pod.
 * The namespace has to exist.
 */
export async function clientAs(admin: KubeClient, account: ObjectRef, manifests: readonly KubeObject[]): Promise<KubeClient> {
  await applyObjects(
    admin,
    manifests.filter(({ kind }) => permissionKinds.has(kind)),
  );
  const token = await tokenOf(admin, account);
  const { server, ca } = admin.transport.config;
  return new KubeClient({
    server,
    ...(ca !== undefined && { ca }),
    token: () => token,
    namespace: account.namespace ?? '',
    context: account.name,
  });
}

/** A token of a ServiceAccount, by default for the API server itself. */
export async function tokenOf(admin: KubeClient, account: ObjectRef, audience?: string): Promise<string> {
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    metadata: { name: account.name },
    spec: { ...(audience !== undefined && { audiences: [audience] }), expirationSeconds: 7200 },
  };
  const path = `/api/v1/namespaces/${account.namespace ?? ''}/${resources.serviceAccounts.plural}/${account.name}/token`;
  const answer = await admin.request({ method: 'POST', path, body });
  return (answer as unknown as { status: { token: string } }).status.token;
}

/** What RBAC refused a ServiceAccount so far. */
export async function refusedTo(server: ApiServer, { namespace = '', name }: ObjectRef): Promise<readonly string[]> {
  const username = `system:serviceaccount:${namespace}:${name}`;
  const requests = (await server.audited()).filter(({ user }) => user.username === username);
  const refused = requests.filter(({ annotations }) => annotations?.['authorization.k8s.io/decision'] === 'forbid');
  return [...new Set(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`))];
}

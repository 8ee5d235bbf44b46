import assert from 'node:assert/strict';

import { createLogger } from '../../src/core/index.ts';
// What istiod itself serves certificates with, without the rest of it.
import { authenticateCaller } from '../../src/istiod/callers.ts';
import { CertificateAuthority, certificateServiceRoutes, type AuthorityMaterial } from '../../src/pki/index.ts';
import { callerOf, GrpcServer } from '../../src/xds/index.ts';
import type { TestCluster } from '../istiod/cluster.ts';

const trustDomain = 'cluster.local';

/** Istio's certificate service: callers by token that the API server reviews, a chain with the intermediate. */
export async function certificateService(cluster: TestCluster, material: AuthorityMaterial): Promise<GrpcServer> {
  const authority = await CertificateAuthority.create({ material });
  const serving = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [] });
  const log = createLogger('test');
  const routes = certificateServiceRoutes({
    authority: () => authority,
    trustDomain,
    authenticate: async (context) => {
      const caller = await authenticateCaller(callerOf(context), { client: cluster.client, trustDomain, tokenAudiences: ['istio-ca'] });
      assert.ok(caller.identity);
      return { identity: caller.identity };
    },
    authorizeImpersonation: () => Promise.reject(new Error('nobody')),
    log,
  });
  const tls = { certificate: serving.chain, key: serving.key, roots: serving.roots };
  return await GrpcServer.listen({ routes: [routes], tls, host: '127.0.0.1', port: 0, log });
}

import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';

import { IstioCertificateService, type IstioCertificateRequest } from '../api/gen/istio/ca_pb.js';
import { describeError, IsthmusError, type Logger } from '../core/index.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import { tryParseSpiffe, type SpiffeIdentity } from './spiffe.ts';

/** A caller of the certificate service as `authenticate` found it. */
export interface CertificateCaller {
  /** Its own SPIFFE identity. */
  readonly identity: string;
}

export interface CertificateServiceOptions<Caller extends CertificateCaller> {
  /** Asked at each call, so that a rotated authority signs from then on. */
  readonly authority: () => CertificateAuthority;
  /** Identities of another trust domain are never signed. */
  readonly trustDomain: string;
  /** Who calls; throws when that cannot be told. The reason is logged and not told to the caller. */
  readonly authenticate: (context: HandlerContext) => Promise<Caller>;
  /** Whether a node's proxy may have the certificate of a workload; throws with the reason when not, which is logged only. */
  readonly authorizeImpersonation: (caller: Caller, identity: SpiffeIdentity) => Promise<void> | void;
  /** Gets one line for every certificate signed or refused. */
  readonly log: Logger;
}

/** Istio's certificate service, as routes for a connect router. */
export function certificateServiceRoutes<Caller extends CertificateCaller>(
  options: CertificateServiceOptions<Caller>,
): (router: ConnectRouter) => void {
  return (router) =>
    void router.service(IstioCertificateService, {
      createCertificate: async (request, context) => {
        const caller = await authenticate(options, context);
        const uri = await identityFor(options, caller, request);
        return await sign(options, caller, uri, request);
      },
    });
}

async function authenticate<Caller extends CertificateCaller>(
  { authenticate, log }: CertificateServiceOptions<Caller>,
  context: HandlerContext,
): Promise<Caller> {
  try {
    return await authenticate(context);
  } catch (error) {
    log.warn({ error: describeError(error) }, 'certificate refused: caller not authenticated');
    throw new ConnectError('request authenticate failure', Code.Unauthenticated);
  }
}

/** The caller's own identity, or the one that it asks for on behalf of a workload and may have. */
async function identityFor<Caller extends CertificateCaller>(
  { trustDomain, authorizeImpersonation, log }: CertificateServiceOptions<Caller>,
  caller: Caller,
  request: IstioCertificateRequest,
): Promise<string> {
  const wanted = request.metadata?.['ImpersonatedIdentity'];
  if (wanted === undefined || wanted === '') return caller.identity;
  const refuse = (error: string): never => {
    log.warn({ caller: caller.identity, identity: wanted, error }, 'certificate refused: impersonation not allowed');
    throw new ConnectError('request impersonation authentication failure', Code.Unauthenticated);
  };
  if (typeof wanted !== 'string') return refuse('the identity is not a string');
  const identity = tryParseSpiffe(wanted);
  if (identity === undefined) return refuse('not a SPIFFE identity of a service account');
  if (identity.trustDomain !== trustDomain) return refuse(`not of the trust domain ${trustDomain}`);
  try {
    await authorizeImpersonation(caller, identity);
  } catch (error) {
    return refuse(describeError(error));
  }
  return wanted;
}

async function sign<Caller extends CertificateCaller>(
  { authority, log }: CertificateServiceOptions<Caller>,
  caller: Caller,
  uri: string,
  request: IstioCertificateRequest,
): Promise<{ certChain: string[] }> {
  try {
    const ttlMs = Number(request.validityDuration) * 1000;
    const { leaf, intermediates, roots, serialNumber, notAfter } = await authority().issueFromCsr({ csr: request.csr, uri, ttlMs });
    log.info({ caller: caller.identity, identity: uri, serialNumber, notAfter: new Date(notAfter).toISOString() }, 'certificate signed');
    return { certChain: [leaf, ...intermediates, roots] };
  } catch (error) {
    log.warn({ caller: caller.identity, identity: uri, error: describeError(error) }, 'certificate refused');
    throw new ConnectError(`CSR signing error (${describeError(error)})`, codeOf(error));
  }
}

function codeOf(error: unknown): Code {
  const code = error instanceof IsthmusError ? error.code : undefined;
  return code === 'PKI_CSR' || code === 'PKI_TTL' ? Code.InvalidArgument : Code.Internal;
}

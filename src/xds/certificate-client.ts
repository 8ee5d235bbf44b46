import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';

import { IstioCertificateRequestSchema, IstioCertificateService } from '../api/gen/istio/ca_pb.js';
import { IsthmusError } from '../core/index.ts';
import { createSigningRequest, splitPem, type SignedCertificate } from '../pki/index.ts';
import { connectGrpc, type ClientTls } from './client-transport.ts';

export interface CertificateClientOptions {
  readonly address: string;
  /** Asked for each request: files may have changed. */
  readonly tls: () => Promise<ClientTls | undefined>;
  /** `authorization` and `clusterid`, for each request. */
  readonly headers: () => Promise<Readonly<Record<string, string>>>;
  /** Validity that is asked for, milliseconds. */
  readonly ttlMs: number;
  /** Names the identity in the request, since the caller is not the workload itself (a node's proxy); default false. */
  readonly impersonate?: boolean;
}

/** Time for one signature, connection included. Milliseconds. */
const requestTimeout = 10_000;

/**
 * Asks istiod's certificate service for a certificate with a new key. Rejects with XDS_CERTIFICATE for a chain that
 * cannot be right, and with what the service answered otherwise.
 */
export async function requestCertificate(
  identity: string,
  options: CertificateClientOptions,
  signal: AbortSignal,
): Promise<SignedCertificate> {
  const { csr, privateKey } = await createSigningRequest(identity);
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(requestTimeout)]);
  using connection = await connectGrpc({ url: options.address, tls: await options.tls(), signal: bounded });
  const client = createClient(IstioCertificateService, connection.transport);
  const request = create(IstioCertificateRequestSchema, {
    csr,
    validityDuration: BigInt(Math.round(options.ttlMs / 1000)),
    ...(options.impersonate === true && { metadata: { ImpersonatedIdentity: identity } }),
  });
  try {
    const { certChain } = await client.createCertificate(request, { signal: bounded, headers: { ...(await options.headers()) } });
    return splitChain(identity, certChain, privateKey);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    throw new IsthmusError('XDS_CERTIFICATE', `signing gRPC error (${Code[error.code]}): ${error.rawMessage}`, { cause: error });
  }
}

/** Leaf first, root (or several in one element) last. */
function splitChain(identity: string, chain: readonly string[], privateKey: string): SignedCertificate {
  if (chain.length === 0) throw new IsthmusError('XDS_CERTIFICATE', `chain returned from CA is empty for: ${identity}`);
  const roots = chain.at(-1);
  if (chain.length < 2 || roots === undefined)
    throw new IsthmusError('XDS_CERTIFICATE', `chain returned from CA has no root for: ${identity}`);
  const certificateChain = chain.slice(0, -1).flatMap(splitPem).join('');
  return { certificateChain, privateKey, roots: splitPem(roots).join('') };
}

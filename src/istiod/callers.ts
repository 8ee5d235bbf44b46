import type { X509Certificate } from 'node:crypto';

import { IsthmusError } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { formatSpiffe, tryParseSpiffe, uriNames } from '../pki/index.ts';
import type { CallContext } from '../xds/index.ts';

/** Who calls istiod, and how that was proved. */
export type Caller =
  | { readonly via: 'token'; readonly identity: string; readonly account: ServiceAccountRef; readonly pod: PodRef | undefined }
  | { readonly via: 'certificate'; readonly identity: string; readonly account: ServiceAccountRef; readonly certificate: X509Certificate }
  /** A certificate under our roots, but of another trust domain: a peer's control plane, at most. */
  | { readonly via: 'foreign-certificate'; readonly identity: string; readonly certificate: X509Certificate }
  /** The plaintext listener on loopback: whoever reaches it is on the same host. */
  | { readonly via: 'loopback'; readonly identity: undefined };

export interface ServiceAccountRef {
  readonly namespace: string;
  readonly name: string;
}

/** The pod that a bound token was made for. */
export interface PodRef {
  readonly name: string;
  readonly uid: string;
}

export interface CallerOptions {
  readonly client: KubeClient;
  readonly trustDomain: string;
  readonly tokenAudiences: readonly string[];
}

/**
 * Tells who calls: by client certificate, else by a service account's token that the API server reviews. Throws
 * ISTIOD_CALLER_UNKNOWN with the reasons, which are for the log only.
 */
export async function authenticateCaller(context: CallContext, options: CallerOptions): Promise<Caller> {
  if (!context.encrypted) return { via: 'loopback', identity: undefined };
  const byCertificate = fromCertificate(context, options.trustDomain);
  if (typeof byCertificate !== 'string') return byCertificate;
  const token = /^Bearer (.+)$/i.exec(context.headers.get('authorization') ?? '')?.[1];
  if (token === undefined) throw unknown(context, `${byCertificate}; no bearer token`);
  const review = await reviewToken(token, options);
  if (typeof review !== 'string') return review;
  throw unknown(context, `${byCertificate}; ${review}`);
}

function unknown({ remoteAddress }: CallContext, reasons: string): IsthmusError {
  return new IsthmusError('ISTIOD_CALLER_UNKNOWN', `caller at ${remoteAddress}: ${reasons}`, {
    hint: 'check the audience and expiry of its token and that it has the same root',
  });
}

/** The caller, or why its certificate does not tell who it is. */
function fromCertificate({ peerCertificate, certificateError }: CallContext, trustDomain: string): Caller | string {
  if (peerCertificate === undefined) return certificateError ?? 'no client certificate';
  const names = uriNames(peerCertificate);
  const [identity] = names;
  const parsed = identity === undefined ? undefined : tryParseSpiffe(identity);
  if (identity === undefined || names.length !== 1 || parsed === undefined) return 'client certificate without one SPIFFE identity';
  if (parsed.trustDomain !== trustDomain) return { via: 'foreign-certificate', identity, certificate: peerCertificate };
  const account = { namespace: parsed.namespace, name: parsed.serviceAccount };
  return { via: 'certificate', identity, account, certificate: peerCertificate };
}

/** What the API server says of a token (authentication.k8s.io/v1 TokenReview). */
interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[] | undefined>>;
  };
}

/** The caller, or why the API server does not believe the token. */
async function reviewToken(token: string, { client, trustDomain, tokenAudiences }: CallerOptions): Promise<Caller | string> {
  const review = (await client.request({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: tokenAudiences } },
  })) as { status?: TokenReviewStatus } | undefined;
  const { authenticated = false, error, audiences = [], user = {} } = review?.status ?? {};
  if (!authenticated) return `token not accepted${error === undefined ? '' : `: ${error}`}`;
  // A server that does not know audiences answers without them, and accepts tokens that were meant for others.
  if (!audiences.some((audience) => tokenAudiences.includes(audience))) return 'token for another audience';
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user.username ?? '') ?? [];
  if (namespace === undefined || name === undefined || user.groups?.includes('system:serviceaccounts') !== true) {
    return `token of ${user.username ?? 'nobody'}, who is no service account`;
  }
  const podName = user.extra?.['authentication.kubernetes.io/pod-name']?.[0];
  const podUid = user.extra?.['authentication.kubernetes.io/pod-uid']?.[0];
  return {
    via: 'token',
    identity: formatSpiffe({ trustDomain, namespace, serviceAccount: name }),
    account: { namespace, name },
    pod: podName === undefined || podUid === undefined ? undefined : { name: podName, uid: podUid },
  };
}

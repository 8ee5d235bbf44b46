import { IsthmusError } from '../core/index.ts';

/** A workload's identity: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export interface SpiffeIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Istio's form of an identity. A trust domain may hold an `@`, which Istio writes as a dot. */
export function formatSpiffe({ trustDomain, namespace, serviceAccount }: SpiffeIdentity): string {
  return `spiffe://${trustDomain.replaceAll('@', '.')}/ns/${namespace}/sa/${serviceAccount}`;
}

/** The identity that a URI names; throws PKI_IDENTITY when it is not one of Istio's form, or a part of it is empty. */
export function parseSpiffe(uri: string): SpiffeIdentity {
  const identity = tryParseSpiffe(uri);
  if (identity === undefined) {
    throw new IsthmusError('PKI_IDENTITY', `${JSON.stringify(uri)} is not a workload's identity`, {
      hint: 'the form is spiffe://<trust domain>/ns/<namespace>/sa/<service account>',
    });
  }
  return identity;
}

/** As {@link parseSpiffe}, with undefined instead of an error. */
export function tryParseSpiffe(uri: string): SpiffeIdentity | undefined {
  if (!uri.startsWith('spiffe://')) return undefined;
  const parts = uri.slice('spiffe://'.length).split('/');
  const [trustDomain = '', ns, namespace = '', sa, serviceAccount = ''] = parts;
  if (parts.length !== 5 || ns !== 'ns' || sa !== 'sa') return undefined;
  if (![trustDomain, namespace, serviceAccount].every((part) => /^[A-Za-z0-9._-]+$/.test(part))) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

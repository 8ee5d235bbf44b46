import { createHash, createPrivateKey, createPublicKey, randomUUID, sign, verify, type KeyObject } from 'node:crypto';

import { asList, asObject, asString, isObject, type JsonObject } from '../json.ts';
import type { Store } from '../storage/store.ts';
import { serviceAccountGroups, serviceAccountUsername, type UserInfo } from './user.ts';

export interface TokenOptions {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
  readonly expirationSeconds: number;
  /** The token is worth nothing once this object is gone. */
  readonly boundTo?: { readonly kind: 'Pod' | 'Secret' | 'Node'; readonly name: string; readonly uid: string };
  /** The node that the pod runs on. */
  readonly node?: { readonly name: string; readonly uid?: string };
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface VerifiedToken {
  readonly user: UserInfo;
  readonly audiences: readonly string[];
}

/** A token that proves nothing; the message says why, for TokenReview. */
export class InvalidTokenError extends Error {}

/** Signs and checks the tokens of service accounts: ES256 JWTs with the claims of Kubernetes. */
export class ServiceAccountTokens {
  readonly #store: Store;
  readonly #key: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #keyId: string;
  readonly issuer: string;

  /** `key`: PEM of a P-256 key; `issuer`: an URL, also the audience of tokens for the API server itself. */
  constructor(options: { store: Store; key: string; issuer: string }) {
    this.#store = options.store;
    this.#key = createPrivateKey(options.key);
    this.#publicKey = createPublicKey(this.#key);
    this.#keyId = createHash('sha256')
      .update(this.#publicKey.export({ type: 'spki', format: 'der' }))
      .digest('base64url');
    this.issuer = options.issuer;
  }

  issue({ namespace, serviceAccount, audiences, expirationSeconds, boundTo, node, now }: TokenOptions): { token: string; expires: number } {
    const issued = Math.floor(now / 1000);
    const expires = issued + expirationSeconds;
    const claims = {
      aud: audiences,
      exp: expires,
      iat: issued,
      iss: this.issuer,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace,
        ...(node !== undefined && { node }),
        ...(boundTo !== undefined && { [boundTo.kind.toLowerCase()]: { name: boundTo.name, uid: boundTo.uid } }),
        serviceaccount: serviceAccount,
      },
      nbf: issued,
      sub: serviceAccountUsername(namespace, serviceAccount.name),
    };
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
    const signed = `${encode({ alg: 'ES256', kid: this.#keyId })}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    return { token: `${signed}.${signature.toString('base64url')}`, expires: expires * 1000 };
  }

  /** Throws {@link InvalidTokenError} unless the token is ours, in time, and everything that it is bound to is still there. */
  verify(token: string, now: number): VerifiedToken {
    const claims = this.#claims(token);
    const seconds = now / 1000;
    if (typeof claims['exp'] !== 'number' || claims['exp'] <= seconds) {
      throw new InvalidTokenError('service account token has expired');
    }
    if (typeof claims['nbf'] === 'number' && claims['nbf'] > seconds + 10) {
      throw new InvalidTokenError('service account token is not valid yet');
    }
    const bound = asObject(claims['kubernetes.io']);
    const namespace = asString(bound['namespace']) ?? '';
    const account = asObject(bound['serviceaccount']);
    const name = asString(account['name']) ?? '';
    this.#checkPresent('serviceaccounts.', namespace, account);
    if (bound['pod'] !== undefined) this.#checkPresent('pods.', namespace, asObject(bound['pod']));
    if (bound['secret'] !== undefined) this.#checkPresent('secrets.', namespace, asObject(bound['secret']));
    const extra: Record<string, readonly string[]> = {
      'authentication.kubernetes.io/credential-id': [`JTI=${asString(claims['jti']) ?? ''}`],
    };
    for (const kind of ['node', 'pod']) {
      const { name: boundName, uid } = asObject(bound[kind]);
      if (typeof boundName === 'string') extra[`authentication.kubernetes.io/${kind}-name`] = [boundName];
      if (typeof uid === 'string') extra[`authentication.kubernetes.io/${kind}-uid`] = [uid];
    }
    return {
      audiences: asList(claims['aud']).filter((audience) => typeof audience === 'string'),
      user: {
        username: serviceAccountUsername(namespace, name),
        uid: asString(account['uid']) ?? '',
        groups: [...serviceAccountGroups(namespace), 'system:authenticated'],
        extra,
      },
    };
  }

  /** The public keys as a JSON Web Key Set, for others that verify tokens by themselves. */
  keySet(): JsonObject {
    return { keys: [{ use: 'sig', ...this.#publicKey.export({ format: 'jwk' }), kid: this.#keyId, alg: 'ES256' }] };
  }

  #claims(token: string): JsonObject {
    const [header = '', payload = '', signature = '', ...rest] = token.split('.');
    const decode = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    let head: unknown;
    let claims: unknown;
    try {
      head = decode(header);
      claims = decode(payload);
    } catch {
      throw new InvalidTokenError('invalid bearer token');
    }
    const ours = isObject(head) && head['alg'] === 'ES256' && rest.length === 0 && isObject(claims) && claims['iss'] === this.issuer;
    const key = { key: this.#publicKey, dsaEncoding: 'ieee-p1363' } as const;
    if (!ours || !verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))) {
      throw new InvalidTokenError('invalid bearer token');
    }
    return claims as JsonObject;
  }

  #checkPresent(bucket: string, namespace: string, ref: JsonObject): void {
    const name = asString(ref['name']) ?? '';
    const object = this.#store.get(bucket, namespace, name)?.object;
    if (object === undefined || object.metadata.uid !== ref['uid']) {
      throw new InvalidTokenError('service account token has been invalidated');
    }
  }
}

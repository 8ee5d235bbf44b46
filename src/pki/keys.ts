import { createPrivateKey, webcrypto, type KeyObject } from 'node:crypto';

import { describeError, IsthmusError } from '../core/index.ts';

/** Kinds of key that Isthmus makes. */
export type KeyType = 'ecdsa-p256' | 'rsa-2048' | 'rsa-4096';

type Algorithm = webcrypto.EcKeyImportParams & webcrypto.RsaHashedImportParams;
export type CryptoKeyPair = webcrypto.CryptoKeyPair;
export type CryptoKey = webcrypto.CryptoKey;

const ecdsaP256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export async function generateKeys(type: KeyType): Promise<CryptoKeyPair> {
  if (type === 'ecdsa-p256') return await webcrypto.subtle.generateKey(ecdsaP256, true, ['sign', 'verify']);
  const modulusLength = type === 'rsa-2048' ? 2048 : 4096;
  const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength, publicExponent: new Uint8Array([1, 0, 1]) };
  return await webcrypto.subtle.generateKey(rsa, true, ['sign', 'verify']);
}

/** PKCS#8 PEM. */
export async function privateKeyPem(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' });
}

/** A private key of any PEM form (PKCS#8, PKCS#1, SEC 1). Throws PKI_CA_INVALID. */
export function readPrivateKey(pem: string, what: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new IsthmusError('PKI_CA_INVALID', `${what} is not a private key: ${describeError(error)}`);
  }
}

/** For signing certificates. Throws PKI_CA_INVALID for a kind of key that no authority of a mesh has. */
export async function signingKey(key: KeyObject, what: string): Promise<CryptoKey> {
  const algorithm = signatureAlgorithm(key);
  if (algorithm === undefined) {
    throw new IsthmusError('PKI_CA_INVALID', `${what} is a ${key.asymmetricKeyType ?? 'secret'} key, which cannot sign certificates here`, {
      hint: 'use RSA or ECDSA with P-256, P-384 or P-521',
    });
  }
  return await webcrypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), algorithm, false, ['sign']);
}

/** The algorithm in which a key signs; for an elliptic curve the hash of its own strength. */
function signatureAlgorithm(key: KeyObject): Algorithm | undefined {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as Algorithm;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return ecdsaP256;
  if (curve === 'secp384r1') return { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
  if (curve === 'secp521r1') return { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' };
  return undefined;
}

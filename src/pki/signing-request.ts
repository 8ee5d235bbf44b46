import { generateKeyPair, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

/** A certificate signing request and its key; PEM, the key as PKCS#8. */
export interface SigningRequest {
  readonly csr: string;
  readonly privateKey: string;
}

/** What an authority made of a {@link SigningRequest}; PEM. */
export interface SignedCertificate {
  /** The leaf first, then the authorities between it and the root. */
  readonly certificateChain: string;
  readonly privateKey: string;
  /** The roots that the authority believes. */
  readonly roots: string;
}

const generate = promisify(generateKeyPair);

/**
 * A new P-256 key and the request for its certificate, as upstream's ztunnel makes it: no subject, the SPIFFE identity as
 * the one, critical, alternative name. Written in DER here because this is all of X.509 that a node proxy ever makes: a
 * library for it would cost each node 25 MB and a fifth of a second at start.
 */
export async function createSigningRequest(identity: string): Promise<SigningRequest> {
  const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' });
  return {
    csr: pem('CERTIFICATE REQUEST', encode(identity, publicKey, privateKey)),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

/** Tags of the DER types that occur (X.690, 8.1.2); PKCS #10 is RFC 2986, the names of an extension RFC 5280, 4.2.1.6. */
const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  SEQUENCE: 0x30,
  SET: 0x31,
  ATTRIBUTES: 0xa0,
  URI_NAME: 0x86,
} as const;

const oid = {
  ecdsaWithSha256: Buffer.from('2a8648ce3d040302', 'hex'),
  extensionRequest: Buffer.from('2a864886f70d01090e', 'hex'),
  subjectAltName: Buffer.from('551d11', 'hex'),
};

function encode(identity: string, publicKey: KeyObject, privateKey: KeyObject): Buffer {
  const names = der(Tag.SEQUENCE, der(Tag.URI_NAME, Buffer.from(identity, 'latin1')));
  const critical = der(Tag.BOOLEAN, Buffer.of(0xff));
  const extension = der(Tag.SEQUENCE, der(Tag.OBJECT_IDENTIFIER, oid.subjectAltName), critical, der(Tag.OCTET_STRING, names));
  const attribute = der(Tag.SEQUENCE, der(Tag.OBJECT_IDENTIFIER, oid.extensionRequest), der(Tag.SET, der(Tag.SEQUENCE, extension)));
  const version = der(Tag.INTEGER, Buffer.of(0));
  const noSubject = der(Tag.SEQUENCE);
  const info = der(Tag.SEQUENCE, version, noSubject, publicKey.export({ type: 'spki', format: 'der' }), der(Tag.ATTRIBUTES, attribute));
  const algorithm = der(Tag.SEQUENCE, der(Tag.OBJECT_IDENTIFIER, oid.ecdsaWithSha256));
  // A bit string says first how many bits of its last byte are unused.
  const signature = der(Tag.BIT_STRING, Buffer.of(0), sign('sha256', info, privateKey));
  return der(Tag.SEQUENCE, info, algorithm, signature);
}

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.of(tag, ...derLength(content.length)), content]);
}

function derLength(length: number): number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BinaryWriter } from '@bufbuild/protobuf/wire';

import { DecodeError, decodeProtobuf, schemaFor } from './index.ts';
import { fixture } from './testing/captured.ts';

/** The bodies that kubectl sent, by the command; a dump is sixteen bytes a line. */
function dumps(): Map<string, Uint8Array> {
  const [, section = ''] = fixture('kubectl-requests.txt').split('Protobuf request bodies');
  const found = new Map<string, Uint8Array>();
  for (const part of section.split('\n$ ').slice(1)) {
    const [command = '', ...lines] = part.split('\n');
    const bytes = lines.flatMap((line) =>
      (/^\s+[0-9a-f]{8}  ([0-9a-f ]+?)\s*\|/.exec(line)?.[1] ?? '').split(/\s+/).filter((byte) => byte !== ''),
    );
    if (bytes.length > 0)
      found.set(
        command,
        Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)),
      );
  }
  return found;
}

test('reads what kubectl create namespace sends', () => {
  const body = dumps().get('kubectl create namespace demo2');
  assert.ok(body !== undefined, 'the body is recorded');
  const { object } = schemaFor({ group: '', version: 'v1', kind: 'Namespace' }).prune(decodeProtobuf(body), { mode: 'drop' });
  assert.deepEqual(object, { kind: 'Namespace', apiVersion: 'v1', metadata: { name: 'demo2' }, spec: {}, status: {} });
});

/** A message: field number to value; a number is a varint, a list a repeated field. */
interface Message {
  readonly [field: number]: number | string | Uint8Array | Message | readonly Message[] | readonly string[];
}

function encode(message: Message): Uint8Array {
  const writer = new BinaryWriter();
  for (const [key, value] of Object.entries(message)) {
    for (const item of Array.isArray(value)
      ? (value as readonly (string | Message)[])
      : [value as number | string | Uint8Array | Message]) {
      if (typeof item === 'number') writer.uint32((Number(key) << 3) | 0).int64(item);
      else if (typeof item === 'string') writer.uint32((Number(key) << 3) | 2).string(item);
      else writer.uint32((Number(key) << 3) | 2).bytes(item instanceof Uint8Array ? item : encode(item));
    }
  }
  return writer.finish();
}

const body = (apiVersion: string, kind: string, object: Message): Uint8Array =>
  Buffer.concat([Buffer.from('k8s\0', 'latin1'), encode({ 1: { 1: apiVersion, 2: kind }, 2: encode(object), 3: '', 4: '' })]);

test('reads what typed Go clients send', () => {
  const token = body('authentication.k8s.io/v1', 'TokenRequest', { 1: { 8: {} }, 2: { 1: ['istio-ca'], 4: 3600 }, 3: { 1: '', 2: {} } });
  assert.deepEqual(decodeProtobuf(token)['spec'], { audiences: ['istio-ca'], expirationSeconds: 3600 });

  const access = body('authorization.k8s.io/v1', 'SelfSubjectAccessReview', { 2: { 1: { 1: 'demo', 2: 'list', 5: 'pods' } } });
  assert.deepEqual(decodeProtobuf(access)['spec'], { resourceAttributes: { namespace: 'demo', verb: 'list', resource: 'pods' } });

  const options = body('v1', 'DeleteOptions', { 1: 0, 2: { 1: 'the-uid' }, 4: 'Background' });
  assert.deepEqual(decodeProtobuf(options), {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    preconditions: { uid: 'the-uid' },
    propagationPolicy: 'Background',
  } as unknown);

  const renewed = { 1: 1_795_455_457, 2: 123_456_000 };
  const lease = body('coordination.k8s.io/v1', 'Lease', { 2: { 1: 'me', 2: 15, 4: renewed } });
  assert.deepEqual(decodeProtobuf(lease)['spec'], {
    holderIdentity: 'me',
    leaseDurationSeconds: 15,
    renewTime: '2026-11-23T17:37:37.123456Z',
  });
});

test('reads maps, inlined structs, unions and free-form JSON', () => {
  const volume: Message = { 1: 'certs', 2: { 6: { 1: 'cacerts', 3: 420 } } };
  const port: Message = { 1: 'http', 2: 'TCP', 3: 80, 4: { 1: 1, 2: 0, 3: 'web' } };
  const pod = body('v1', 'Pod', {
    1: { 1: 'p', 11: [{ 1: 'app', 2: 'x' }, { 1: 'empty' }], 17: [{ 1: 'm', 7: { 1: Buffer.from('{"f:spec":{}}') } }] },
    2: { 1: [volume], 2: [{ 1: 'c', 2: 'img', 8: { 1: [{ 1: 'cpu', 2: { 1: '500m' } }] } }] },
  });
  assert.deepEqual(decodeProtobuf(pod), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', labels: { app: 'x', empty: '' }, managedFields: [{ manager: 'm', fieldsV1: { 'f:spec': {} } }] },
    spec: {
      volumes: [{ name: 'certs', secret: { secretName: 'cacerts', defaultMode: 420 } }],
      containers: [{ name: 'c', image: 'img', resources: { limits: { cpu: '500m' } } }],
    },
  } as unknown);
  const service = decodeProtobuf(body('v1', 'Service', { 2: { 1: [port] } }));
  assert.deepEqual(service['spec'], { ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'web' }] });
  const secret = decodeProtobuf(body('v1', 'Secret', { 2: [{ 1: 'a', 2: Buffer.from('hello') }] }));
  assert.deepEqual(secret['data'], { a: 'aGVsbG8=' });
  const review = body('authorization.k8s.io/v1', 'SubjectAccessReview', { 2: { 5: [{ 1: 'scopes', 2: { 1: ['a', 'b'] } }] } });
  assert.deepEqual(decodeProtobuf(review)['spec'], { extra: { scopes: ['a', 'b'] } });
});

test('refuses what is no such body', () => {
  assert.throws(() => decodeProtobuf(Buffer.from('{}')), DecodeError);
  const whole = dumps().get('kubectl create namespace demo2') ?? new Uint8Array();
  assert.throws(() => decodeProtobuf(whole.subarray(0, 30)), DecodeError);
  assert.throws(() => decodeProtobuf(body('networking.istio.io/v1', 'ServiceEntry', {})), {
    message: 'no kind "ServiceEntry" is registered for version "networking.istio.io/v1" in scheme',
  });
});

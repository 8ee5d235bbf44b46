import assert from 'node:assert/strict';
import { test } from 'node:test';

import { findImage, parseReference } from './table.ts';

test('references are completed as Docker does', () => {
  const cases: [string, string, string][] = [
    ['curlimages/curl', 'docker.io/curlimages/curl', 'latest'],
    ['docker.io/curlimages/curl:8.5.0', 'docker.io/curlimages/curl', '8.5.0'],
    ['nginx', 'docker.io/library/nginx', 'latest'],
    ['localhost:5000/a/b', 'localhost:5000/a/b', 'latest'],
    ['localhost/a', 'localhost/a', 'latest'],
    ['ghcr.io/a/b:v1@sha256:00', 'ghcr.io/a/b', 'sha256:00'],
  ];
  for (const [reference, repository, tag] of cases) assert.deepEqual(parseReference(reference), { repository, tag }, reference);
});

test('the images of the samples and of the mesh are there, others are not', () => {
  assert.deepEqual(findImage('curlimages/curl')?.entrypoint, ['/usr/bin/curl']);
  assert.equal(findImage('docker.io/istio/examples-helloworld-v2')?.env['SERVICE_VERSION'], 'v2');
  assert.equal(findImage('docker.io/isthmus/isthmus:0.1.0')?.checkout, true);
  assert.equal(findImage('docker.io/istio/examples-helloworld-v3'), undefined);
  assert.equal(findImage('quay.io/curlimages/curl'), undefined);
  const ids = ['curlimages/curl', 'docker.io/istio/examples-helloworld-v1', 'docker.io/istio/examples-helloworld-v2'].map(
    (name) => findImage(name)?.id,
  );
  assert.equal(new Set(ids).size, 3);
});

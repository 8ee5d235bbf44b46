import assert from 'node:assert/strict';
import { test } from 'node:test';

import { aggregate } from './errors.ts';
import { validateIngress } from './ingress.ts';

const service = { name: 's', port: { number: 1 } };
const withPath = (path: object) => ({ rules: [{ http: { paths: [path] } }] });

/** Each with what kube-apiserver 1.32 said, but for the Go type in the first. */
const cases: readonly (readonly [what: string, spec: object, said: string])[] = [
  ['nothing at all', {}, 'spec: Invalid value: null: either `defaultBackend` or `rules` must be specified'],
  ['a rule without paths', { rules: [{ http: { paths: [] } }] }, 'spec.rules[0].http.paths: Required value'],
  [
    'a path that is not absolute',
    withPath({ path: 'x', pathType: 'Prefix', backend: { service } }),
    'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
  ],
  [
    'a path without a type',
    withPath({ path: '/', backend: { service } }),
    'spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified',
  ],
  [
    'a type that there is not, and no backend',
    withPath({ path: '/', pathType: 'Odd', backend: {} }),
    '[spec.rules[0].http.paths[0].pathType: Unsupported value: "Odd": supported values: "Exact", "ImplementationSpecific", "Prefix", spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required]',
  ],
  [
    'a service without name and port',
    { defaultBackend: { service: { name: '' } } },
    '[spec.defaultBackend.service.name: Required value, spec.defaultBackend: Required value: port name or number is required]',
  ],
];
for (const [what, spec, said] of cases) {
  test(`refuses an Ingress with ${what}`, () => assert.equal(aggregate(validateIngress({ spec })), said));
}

test('accepts a rule with a host alone, and a backend alone', () => {
  assert.deepEqual(validateIngress({ spec: { rules: [{ host: 'a' }] } }), []);
  assert.deepEqual(validateIngress({ spec: { defaultBackend: { service } } }), []);
});

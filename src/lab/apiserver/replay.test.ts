import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { gatewayApiCrds, istioCrds } from '../../api/crds/index.ts';
import { differences } from './testing/compare-answers.ts';
import { play, readRecordings, type Recording } from './testing/recorded-calls.ts';
import { TestServer } from './testing/test-server.ts';

/** The recorded calls that this server answers otherwise than the real one, and why. Every other one is alike. */
const otherwise: Readonly<Record<string, string>> = {
  'disc-10': 'batch/v1 is not served: the lab has no controllers for jobs',
  'cm-yaml': 'the same YAML, but the key "." of managedFields is quoted',
  'pod-immutable': 'refused alike, but the message ends with a diff of Go structs there',
  'pod-table': 'the descriptions of three columns are in our own words',
  'pod-table2': 'the descriptions of three columns are in our own words',
  'tok-api': 'the recorded server was told that istio-ca is one of its own audiences',
  'w-initial': 'the recorded server ran on a storage without progress notifications; ours streams the initial events',
  node: 'new nodes get no taint not-ready: nothing in the lab would take it off before the node is ready anyway',
  'we-table': "the lab's CRDs leave descriptions out",
  'se-table': "the lab's CRDs leave descriptions out",
};

describe("a real kube-apiserver's answers", () => {
  const recordings = readRecordings();
  const found = new Map<string, readonly string[]>();
  let server: TestServer;

  before(async () => {
    server = await TestServer.start();
    for (const crd of [...istioCrds(), ...gatewayApiCrds()]) {
      const { status } = await server.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
      assert.equal(status, 201, crd.metadata.name);
    }
    const answers = new Map<string, unknown>();
    for (const recording of recordings) {
      found.set(recording.case.id, await compare(recording, answers));
      // As the controller for service accounts did there.
      if (recording.case.id === 'ns-create') {
        await server.json('POST', '/api/v1/namespaces/t1/serviceaccounts', { metadata: { name: 'default' } });
      }
    }
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  async function compare({ case: recorded, answer }: Recording, answers: Map<string, unknown>): Promise<string[]> {
    const ours = await play(server, recorded, answers);
    answers.set(recorded.id, ours.body);
    return differences(recorded, answer, ours);
  }

  for (const { id, method, path } of recordings.map((recording) => recording.case)) {
    const reason = otherwise[id];
    if (reason === undefined) {
      test(`${id}: ${method} ${path}`, () => {
        assert.deepEqual(found.get(id), []);
      });
    } else {
      test(`${id} differs: ${reason}`, () => {
        assert.notDeepEqual(found.get(id), [], 'it is alike now: take it off the list');
      });
    }
  }

  test('the list names recorded calls only', () => {
    const ids = new Set(recordings.map((recording) => recording.case.id));
    assert.deepEqual(
      Object.keys(otherwise).filter((id) => !ids.has(id)),
      [],
    );
  });
});

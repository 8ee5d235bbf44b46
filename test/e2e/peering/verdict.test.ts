/** The checks of the peering test can fail: records made by hand, with and without what they have to find. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { differences, type EntryView } from './expected-entries.ts';
import { readAttempt } from './steady-load.ts';
import { Timeline } from './timeline.ts';
import { judge, staleBound, watchLag, type Attempt, type SentRequest } from './verdict.ts';

const begin = 1_000_000;
const at = (ms: number): number => begin + ms;

/** a and b from the start on; a leaves after 10 s. */
function timeline(): Timeline {
  const made = new Timeline();
  made.update(at(0), new Set(['c2/a', 'c2/b']));
  made.update(at(10_000), new Set(['c2/b']));
  return made;
}

const answered = (ms: number, by: string): SentRequest => ({ start: at(ms), end: at(ms + 5), localPort: ms % 50_000, answeredBy: by });
const failed = (ms: number, took = 5): SentRequest => ({
  start: at(ms),
  end: at(ms + took),
  localPort: ms % 50_000,
  error: 'socket hang up',
});
const attempt = (ms: number, pod: string, error?: string): Attempt => ({ start: at(ms), localPort: ms % 50_000, pod, error });

describe('the verdict on a steady load', () => {
  test('in order while requests go to endpoints', () => {
    const verdict = judge(timeline(), [answered(100, 'c2/a'), answered(20_000, 'c2/b')], [attempt(100, 'c2/a'), attempt(20_000, 'c2/b')]);
    assert.deepEqual(verdict, { stale: [], astray: [], failed: [], excused: 0 });
  });

  test('an answer of a pod that is gone is stale by as much as it is gone', () => {
    const { stale } = judge(timeline(), [answered(10_200, 'c2/a'), answered(15_001, 'c2/a')], []);
    assert.deepEqual(
      stale.map(({ goneMs, wasAnswered }) => [goneMs, wasAnswered]),
      [
        [200, true],
        [5_001, true],
      ],
    );
    assert.equal(stale.filter(({ goneMs }) => goneMs > staleBound).length, 1);
  });

  test('so is an attempt that nobody answered, which only the proxy tells of; one request counts once', () => {
    // Client and proxy tell of one connection by its port.
    const requests = [failed(16_000), answered(10_300, 'c2/a')];
    const { stale } = judge(timeline(), requests, [attempt(16_000, 'c2/a', 'refused'), { ...attempt(10_301, 'c2/a'), localPort: 10_300 }]);
    assert.deepEqual(stale.map(({ goneMs }) => goneMs).sort(), [300, 6_000]);
  });

  test('a failure is excused while its pod left no longer ago than the bound, or leaves meanwhile', () => {
    const soon = judge(timeline(), [failed(12_000), failed(9_990, 20)], [attempt(12_000, 'c2/a', 'x'), attempt(9_990, 'c2/a', 'x')]);
    assert.deepEqual([soon.excused, soon.failed], [2, []]);
    const late = judge(timeline(), [failed(15_500)], [attempt(15_500, 'c2/a', 'x')]);
    assert.deepEqual([late.excused, late.failed.length], [0, 1]);
  });

  test('a failure at a living pod, or at nobody, is none that may be', () => {
    const { failed: lines } = judge(timeline(), [failed(12_000), failed(13_000)], [attempt(12_000, 'c2/b', 'reset')]);
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', /for c2\/b: socket hang up; the proxy: reset/);
    assert.match(lines[1] ?? '', /nobody that the proxy knew/);
  });

  test('without endpoints requests may fail, and until the first that succeeds after', () => {
    const made = timeline();
    made.update(at(20_000), new Set());
    made.update(at(30_000), new Set(['c2/d']));
    const sent = [failed(19_000), failed(25_000), failed(30_100), answered(30_200, 'c2/d'), failed(30_300)];
    const { excused, failed: lines } = judge(made, sent, []);
    assert.equal(excused, 2);
    assert.equal(lines.length, 2, lines.join('\n'));
  });

  test('a request to what never was an endpoint went astray; a watch may be late', () => {
    assert.equal(judge(timeline(), [answered(100, 'c2/x')], []).astray.length, 1);
    const made = timeline();
    made.update(at(40_000), new Set(['c2/b', 'c2/a']));
    assert.deepEqual(judge(made, [answered(40_000 - watchLag + 1, 'c2/a')], []).stale, []);
    assert.equal(judge(made, [answered(40_000 - watchLag - 1, 'c2/a')], []).stale.length, 1);
  });
});

describe('what a line of ztunnel tells', () => {
  const of = { address: '10.10.0.9', host: 'global-service.demo.mesh.internal', cluster: 'cluster-1' };
  const line = (fields: string, level = 'info'): string => `2026-11-24T00:00:01.500000Z\t${level}\taccess\tconnection complete\t${fields}`;
  const common = 'src.addr=10.10.0.9:40000 src.workload="client" dst.addr=10.20.0.3:15008 dst.hbone_addr=10.20.0.3:5000';

  test('a pod of the peer, by its entry; a pod of the cluster, by its name', () => {
    const remote = line(
      `${common} dst.service="${of.host}" dst.workload="autogenflat.cluster-2.demo.global-service-5f-x1.eacd81ea03fd" direction="outbound" duration="1500ms" error="io error: Connection refused (os error 111)"`,
      'error',
    );
    assert.deepEqual(readAttempt(remote, of), {
      start: Date.parse('2026-11-24T00:00:00.000Z'),
      localPort: 40_000,
      pod: 'cluster-2/global-service-5f-x1',
      error: 'io error: Connection refused (os error 111)',
    });
    const local = line(`${common} dst.service="${of.host}" dst.workload="global-service-7-q" direction="outbound" duration="0ms"`);
    assert.equal(readAttempt(local, of)?.pod, 'cluster-1/global-service-7-q');
  });

  test('lines of others tell nothing', () => {
    const inbound = line(`${common} dst.service="${of.host}" dst.workload="x" direction="inbound" duration="0ms"`);
    const other = line(`${common} dst.service="other.demo.mesh.internal" dst.workload="x" direction="outbound" duration="0ms"`);
    for (const text of [inbound, other, 'no line', line('')]) assert.equal(readAttempt(text, of), undefined);
  });
});

test('entries are compared whole', () => {
  const entry = (name: string, spec: unknown = { address: '10.20.0.3' }): EntryView => ({
    kind: 'WorkloadEntry',
    namespace: 'demo',
    name,
    labels: { app: 'x' },
    annotations: {},
    spec,
  });
  assert.deepEqual(differences([entry('a')], [entry('a')]), []);
  assert.deepEqual(differences([entry('a')], []), ['WorkloadEntry demo/a is missing']);
  assert.deepEqual(differences([], [entry('a')]), ['WorkloadEntry demo/a is left over']);
  assert.equal(differences([entry('a')], [entry('a', { address: '10.20.0.4' })]).length, 1);
  assert.equal(differences([entry('a')], [{ ...entry('a'), labels: { app: 'x', more: 'y' } }]).length, 1);
  assert.equal(differences([entry('a')], [{ ...entry('a'), annotations: { note: '' } }]).length, 1);
});

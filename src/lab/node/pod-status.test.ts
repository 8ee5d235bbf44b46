import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Pod } from '../../api/kubernetes.ts';
import { podStatus, qosClass, type ContainerView, type RunState, type Termination } from './pod-status.ts';

const ended = (exitCode: number): Termination => ({
  exitCode,
  reason: exitCode === 0 ? 'Completed' : 'Error',
  startedAt: 0,
  finishedAt: 1_000,
  containerId: 'isthmus://x',
});
const running: RunState = { is: 'running', startedAt: 0 };
const creating: RunState = { is: 'waiting', reason: 'ContainerCreating' };
const crashing: RunState = { is: 'waiting', reason: 'CrashLoopBackOff' };
const over = (exitCode: number): RunState => ({ is: 'terminated', by: ended(exitCode) });

function view(state: RunState, more: Partial<ContainerView> = {}): ContainerView {
  const up = state.is === 'running';
  return {
    spec: { name: 'c', image: 'i' },
    kind: 'main',
    state,
    last: undefined,
    restarts: 0,
    ready: up,
    started: up,
    image: 'i',
    imageId: '',
    containerId: '',
    ...more,
  };
}

function pod(spec: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'n' }, spec: { containers: [], ...spec } };
}

function statusOf(of: Pod, containers: readonly ContainerView[]) {
  return podStatus({ pod: of, containers, podIps: ['10.10.0.2'], hostIp: '172.18.0.2', sandboxReady: true, startTime: 'then', now: 'now' });
}

test('phases', () => {
  const init = (state: RunState, more: Partial<ContainerView> = {}) => view(state, { kind: 'init', ...more });
  const cases: [string, NonNullable<Pod['spec']>['restartPolicy'], ContainerView[], string][] = [
    ['starting', 'Always', [view(creating)], 'Pending'],
    ['running', 'Always', [view(running)], 'Running'],
    ['one starts for the first time', 'Always', [view(running), view(creating)], 'Pending'],
    ['crashed and waiting', 'Always', [view(crashing, { last: ended(1) })], 'Running'],
    ['ended, to be restarted', 'Always', [view(over(1))], 'Running'],
    ['done', 'Never', [view(over(0))], 'Succeeded'],
    ['done, one failed', 'Never', [view(over(0)), view(over(2))], 'Failed'],
    ['failed, to be restarted', 'OnFailure', [view(over(2))], 'Running'],
    ['done on failure policy', 'OnFailure', [view(over(0))], 'Succeeded'],
    ['init runs', 'Always', [init(running), view(creating)], 'Pending'],
    ['init failed for good', 'Never', [init(over(1)), view(creating)], 'Failed'],
    ['init failed, to be restarted', 'Always', [init(crashing, { last: ended(1) }), view(creating)], 'Pending'],
    ['init done', 'Always', [init(over(0)), view(running)], 'Running'],
  ];
  for (const [what, restartPolicy, containers, expected] of cases) {
    assert.equal(statusOf(pod({ restartPolicy: restartPolicy ?? 'Always' }), containers).phase, expected, what);
  }
});

test('conditions say what is missing, and keep the time of their last change', () => {
  const before = pod();
  before.status = { conditions: [{ type: 'Ready', status: 'False', lastTransitionTime: 'earlier' }] };
  const waiting = statusOf(before, [view(running, { ready: false })]).conditions;
  const condition = (type: string, of = waiting) => of?.find((candidate) => candidate.type === type);
  assert.deepEqual(condition('Ready'), {
    type: 'Ready',
    status: 'False',
    reason: 'ContainersNotReady',
    message: 'containers with unready status: [c]',
    lastTransitionTime: 'earlier',
    observedGeneration: 1,
  });
  assert.equal(condition('Initialized')?.status, 'True');
  const ready = statusOf(before, [view(running)]).conditions;
  assert.equal(condition('Ready', ready)?.status, 'True');
  assert.equal(condition('Ready', ready)?.lastTransitionTime, 'now');
  assert.equal(
    condition(
      'Ready',
      statusOf(
        before,
        [view(over(0))].map((c) => ({ ...c })),
      ).conditions,
    )?.reason,
    'ContainersNotReady',
  );
  assert.equal(condition('Ready', statusOf(pod({ restartPolicy: 'Never' }), [view(over(0))]).conditions)?.reason, 'PodCompleted');
});

test('a readiness gate keeps a pod from being ready until its condition is true', () => {
  const gated = pod({ readinessGates: [{ conditionType: 'example.com/gate' }] });
  const ready = (of: Pod) => statusOf(of, [view(running)]).conditions?.find(({ type }) => type === 'Ready');
  assert.equal(ready(gated)?.reason, 'ReadinessGatesNotReady');
  gated.status = { conditions: [{ type: 'example.com/gate', status: 'True' }] };
  assert.equal(ready(gated)?.status, 'True');
});

test('a restarted container shows how it ended before', () => {
  const [container] = statusOf(pod(), [view(running, { restarts: 2, last: ended(137) })]).containerStatuses ?? [];
  assert.equal(container?.restartCount, 2);
  assert.deepEqual(container.lastState, {
    terminated: {
      exitCode: 137,
      signal: 9,
      reason: 'Error',
      startedAt: '1970-01-01T00:00:00Z',
      finishedAt: '1970-01-01T00:00:01Z',
      containerID: 'isthmus://x',
    },
  });
});

test('classes of service', () => {
  const of = (...all: ({ requests?: Record<string, string>; limits?: Record<string, string> } | undefined)[]) =>
    qosClass(pod({ containers: all.map((resources, i) => ({ name: `c${i}`, ...(resources && { resources }) })) }));
  const both = { cpu: '1', memory: '1Gi' };
  assert.equal(of(undefined), 'BestEffort');
  assert.equal(of({ requests: { cpu: '1' } }), 'Burstable');
  assert.equal(of({ limits: both }), 'Guaranteed');
  assert.equal(of({ limits: both, requests: both }), 'Guaranteed');
  assert.equal(of({ limits: both, requests: { cpu: '500m' } }), 'Burstable');
  assert.equal(of({ limits: both }, undefined), 'Burstable');
});

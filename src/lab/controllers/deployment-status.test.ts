import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Deployment } from '../../api/kubernetes.ts';
import { deadlineWait, deploymentStatus, findCondition } from './deployment-status.ts';
import { formatTime, type DeploymentStatus } from './objects.ts';
import { deployment, replicaSet } from './testing.ts';

const now = Date.parse('2026-11-23T12:00:00Z');
const conditionsOf = (status: DeploymentStatus): Record<string, string> =>
  Object.fromEntries((status.conditions ?? []).map(({ type, status: value, reason }) => [type, `${value} ${reason ?? ''}`]));
const after = (web: Deployment, status: DeploymentStatus): Deployment => ({ ...web, status });

void test('a Deployment becomes available and is done, as rollout status and wait read it', () => {
  const web = deployment({ replicas: 2 });
  const starting = deploymentStatus({ deployment: web, next: replicaSet('new', 'web:1', 2, 0), old: [], now });
  assert.deepEqual(conditionsOf(starting), { Available: 'False MinimumReplicasUnavailable', Progressing: 'True ReplicaSetUpdated' });
  assert.equal(starting.unavailableReplicas, 2);

  const done = deploymentStatus({ deployment: after(web, starting), next: replicaSet('new', 'web:1', 2), old: [], now: now + 5000 });
  assert.deepEqual(conditionsOf(done), { Available: 'True MinimumReplicasAvailable', Progressing: 'True NewReplicaSetAvailable' });
  assert.equal(findCondition(done.conditions, 'Progressing')?.message, 'ReplicaSet "new" has successfully progressed.');
  assert.deepEqual(
    [done.replicas, done.updatedReplicas, done.readyReplicas, done.availableReplicas, done.observedGeneration],
    [2, 2, 2, 2, 1],
  );

  const again = deploymentStatus({ deployment: after(web, done), next: replicaSet('new', 'web:1', 2), old: [], now: now + 60_000 });
  assert.deepEqual(again, done, 'without news nothing is written, the times included');
});

void test('a rollout that stands still past its deadline is called failed, once', () => {
  const web = deployment({ replicas: 1, progressDeadlineSeconds: 10 });
  const next = replicaSet('new', 'web:1', 1, 0);
  const first = deploymentStatus({ deployment: web, next, old: [], now });
  const progressing = findCondition(first.conditions, 'Progressing');
  assert.equal(deadlineWait(web, progressing, now + 4000), 6000);
  const late = deploymentStatus({ deployment: after(web, first), next, old: [], now: now + 10_000 });
  assert.equal(conditionsOf(late)['Progressing'], 'False ProgressDeadlineExceeded');
  assert.equal(deadlineWait(web, findCondition(late.conditions, 'Progressing'), now + 20_000), undefined);
});

void test('each step of progress moves the deadline', () => {
  const web = deployment({ replicas: 2, progressDeadlineSeconds: 10 });
  const first = deploymentStatus({ deployment: web, next: replicaSet('new', 'web:1', 2, 0), old: [], now });
  const second = deploymentStatus({ deployment: after(web, first), next: replicaSet('new', 'web:1', 2, 1), old: [], now: now + 8000 });
  assert.equal(findCondition(second.conditions, 'Progressing')?.lastUpdateTime, formatTime(now + 8000));
  assert.equal(deadlineWait(web, findCondition(second.conditions, 'Progressing'), now + 8000), 10_000);
});

void test('a paused Deployment keeps telling so', () => {
  const paused = { type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' };
  const web = deployment({ replicas: 1, paused: true }, { status: { conditions: [paused] } });
  const status = deploymentStatus({ deployment: web, next: replicaSet('new', 'web:1', 1), old: [], now });
  assert.equal(conditionsOf(status)['Progressing'], 'Unknown DeploymentPaused');
});

void test('a failure of a ReplicaSet shows on the Deployment and goes with it', () => {
  const web = deployment({ replicas: 1 });
  const next = replicaSet('new', 'web:1', 1, 0);
  next.status = {
    replicas: 0,
    conditions: [{ type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'pods "x" is forbidden' }],
  };
  const failed = deploymentStatus({ deployment: web, next, old: [], now });
  assert.equal(conditionsOf(failed)['ReplicaFailure'], 'True FailedCreate');
  const healed = deploymentStatus({ deployment: after(web, failed), next: replicaSet('new', 'web:1', 1), old: [], now });
  assert.equal(conditionsOf(healed)['ReplicaFailure'], undefined);
});

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { AnyObject } from '../../api/kubernetes.ts';
import { asList, asObject } from './json.ts';
import { TestServer } from './testing/test-server.ts';

describe('who may what', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start();
    await post('/api/v1/namespaces', { metadata: { name: 'demo' } });
    for (const name of ['default', 'app', 'other']) await post('/api/v1/namespaces/demo/serviceaccounts', { metadata: { name } });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  async function post(path: string, body: object): Promise<AnyObject> {
    const answer = await server.json('POST', path, body);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body as AnyObject;
  }

  async function as(token: string | undefined, method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    return await server.call({
      method,
      path,
      anonymous: true,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  async function token(name: string, spec: object = {}): Promise<string> {
    const request = await post(`/api/v1/namespaces/demo/serviceaccounts/${name}/token`, { spec });
    return String(asObject(request['status'])['token']);
  }

  async function review(value: string, audiences?: readonly string[]): Promise<Record<string, unknown>> {
    const answer = await post('/apis/authentication.k8s.io/v1/tokenreviews', {
      spec: { token: value, ...(audiences !== undefined && { audiences }) },
    });
    return asObject(answer['status']);
  }

  test('a token is for its audience alone', async () => {
    const forIstio = await token('app', { audiences: ['istio-ca'] });
    assert.equal((await review(forIstio, ['istio-ca']))['authenticated'], true);
    assert.equal((await review(forIstio))['authenticated'], undefined);
    assert.equal((await as(forIstio, 'GET', '/api')).status, 401);
    assert.equal((await as(await token('app'), 'GET', '/api')).status, 200);
  });

  test('a token that was touched, or that another cluster signed, is refused', async () => {
    const [header = '', payload = '', signature = ''] = (await token('app')).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const forged = Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:admin' })).toString('base64url');
    const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    await using elsewhere = await TestServer.start();
    await elsewhere.json('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'app' } });
    const { body } = await elsewhere.json('POST', '/api/v1/namespaces/default/serviceaccounts/app/token', {});
    const foreign = String(asObject((body as AnyObject)['status'])['token']);
    for (const bad of [`${header}.${forged}.${signature}`, `${none}.${payload}.`, `${header}.${payload}`, foreign, 'x']) {
      assert.equal((await as(bad, 'GET', '/api')).status, 401);
      assert.equal((await review(bad))['error'], 'invalid bearer token');
    }
  });

  test('a token bound to a pod ends with the pod, whatever comes after it under its name', async () => {
    const pod = { metadata: { name: 'bound' }, spec: { serviceAccountName: 'app', containers: [{ name: 'c', image: 'i' }] } };
    const { metadata } = await post('/api/v1/namespaces/demo/pods', pod);
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'bound', uid: metadata.uid };
    const value = await token('app', { boundObjectRef, audiences: ['istio-ca'] });
    const status = await review(value, ['istio-ca']);
    assert.deepEqual(asObject(asObject(status['user'])['extra'])['authentication.kubernetes.io/pod-name'], ['bound']);
    const wrongAccount = await server.json('POST', '/api/v1/namespaces/demo/serviceaccounts/other/token', { spec: { boundObjectRef } });
    assert.equal(wrongAccount.status, 400);
    await server.json('DELETE', '/api/v1/namespaces/demo/pods/bound?gracePeriodSeconds=0');
    assert.equal((await review(value, ['istio-ca']))['authenticated'], undefined);
    await post('/api/v1/namespaces/demo/pods', pod);
    assert.equal((await review(value, ['istio-ca']))['authenticated'], undefined);
  });

  test('a token ends with its account', async () => {
    await post('/api/v1/namespaces/demo/serviceaccounts', { metadata: { name: 'short' } });
    const value = await token('short');
    assert.equal((await as(value, 'GET', '/api')).status, 200);
    await server.json('DELETE', '/api/v1/namespaces/demo/serviceaccounts/short');
    assert.equal((await as(value, 'GET', '/api')).status, 401);
  });

  test('a role allows its verbs on its resources by name, in its namespace, and nothing else', async () => {
    const value = await token('app');
    await post('/apis/rbac.authorization.k8s.io/v1/namespaces/demo/roles', {
      metadata: { name: 'reader' },
      rules: [
        { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'watch'], resourceNames: ['one'] },
        { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
        { apiGroups: ['apps'], resources: ['*'], verbs: ['list'] },
      ],
    });
    await post('/apis/rbac.authorization.k8s.io/v1/namespaces/demo/rolebindings', {
      metadata: { name: 'reader' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'app', namespace: 'demo' }],
    });
    await post('/api/v1/namespaces/demo/configmaps', { metadata: { name: 'one' } });
    const cases: readonly (readonly [method: string, path: string, allowed: boolean])[] = [
      ['GET', '/api/v1/namespaces/demo/configmaps/one', true],
      ['GET', '/api/v1/namespaces/demo/configmaps/two', false],
      ['GET', '/api/v1/namespaces/demo/configmaps', false],
      ['GET', '/api/v1/namespaces/demo/configmaps?fieldSelector=metadata.name%3Done', true],
      ['GET', '/api/v1/namespaces/default/configmaps/one', false],
      ['DELETE', '/api/v1/namespaces/demo/configmaps/one', false],
      ['GET', '/apis/apps/v1/namespaces/demo/deployments', true],
      ['GET', '/apis/apps/v1/deployments', false],
      ['GET', '/api/v1/namespaces/demo/pods/bound/log', true],
      ['GET', '/api/v1/namespaces/demo/pods/bound', false],
      ['GET', '/version', true],
      ['GET', '/metrics', false],
    ];
    for (const [method, path, allowed] of cases) {
      const { status } = await as(value, method, path);
      assert.equal(status !== 403, allowed, `${method} ${path}: ${status}`);
    }
  });

  test('a server-side apply of what is not there asks for create as well as patch', async () => {
    const value = await token('default');
    await post('/apis/rbac.authorization.k8s.io/v1/namespaces/demo/roles', {
      metadata: { name: 'patcher' },
      rules: [
        { apiGroups: [''], resources: ['configmaps', 'secrets'], verbs: ['patch'] },
        { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
      ],
    });
    await post('/apis/rbac.authorization.k8s.io/v1/namespaces/demo/rolebindings', {
      metadata: { name: 'patcher' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'patcher' },
      subjects: [{ kind: 'ServiceAccount', name: 'default', namespace: 'demo' }],
    });
    await post('/api/v1/namespaces/demo/configmaps', { metadata: { name: 'there' } });
    const apply = async (kind: string, plural: string, name: string): Promise<number> => {
      const { status } = await server.call({
        method: 'PATCH',
        path: `/api/v1/namespaces/demo/${plural}/${name}?fieldManager=test`,
        anonymous: true,
        headers: { authorization: `Bearer ${value}`, 'content-type': 'application/apply-patch+yaml' },
        body: JSON.stringify({ apiVersion: 'v1', kind, metadata: { name } }),
      });
      return status;
    };
    assert.equal(await apply('ConfigMap', 'configmaps', 'there'), 200);
    assert.equal(await apply('ConfigMap', 'configmaps', 'missing'), 403);
    assert.equal(await apply('Secret', 'secrets', 'missing'), 201);
  });

  test('nobody grants what they do not have', async () => {
    const value = await token('other');
    await post('/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      metadata: { name: 'role-writer' },
      rules: [
        { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'rolebindings'], verbs: ['create'] },
        { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] },
      ],
    });
    await post('/apis/rbac.authorization.k8s.io/v1/namespaces/demo/rolebindings', {
      metadata: { name: 'role-writer' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'role-writer' },
      subjects: [{ kind: 'ServiceAccount', name: 'other', namespace: 'demo' }],
    });
    const roles = '/apis/rbac.authorization.k8s.io/v1/namespaces/demo/roles';
    const rule = (verb: string): object => ({ apiGroups: [''], resources: ['configmaps'], verbs: [verb] });
    assert.equal((await as(value, 'POST', roles, { metadata: { name: 'held' }, rules: [rule('get')] })).status, 201);
    assert.equal((await as(value, 'POST', roles, { metadata: { name: 'more' }, rules: [rule('get'), rule('delete')] })).status, 403);
    const binding = {
      metadata: { name: 'admin' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name: 'other', namespace: 'demo' }],
    };
    assert.equal((await as(value, 'POST', roles.replace('roles', 'rolebindings'), binding)).status, 403);
  });

  test('nobody in particular sees the version and nothing else', async () => {
    assert.equal((await as(undefined, 'GET', '/version')).status, 200);
    assert.equal((await as(undefined, 'GET', '/healthz')).status, 200);
    assert.equal((await as(undefined, 'GET', '/api')).status, 403);
    assert.equal((await as(undefined, 'GET', '/api/v1/secrets')).status, 403);
  });

  test('impersonation: the administrator may, others may not', async () => {
    const asJane = await server.json('GET', '/api/v1/namespaces', undefined, {
      'impersonate-user': 'jane',
      'impersonate-group': 'system:masters',
    });
    assert.equal(asJane.status, 200);
    const value = await token('app');
    const answer = await server.call({
      method: 'GET',
      path: '/api/v1/namespaces',
      anonymous: true,
      headers: { authorization: `Bearer ${value}`, 'impersonate-user': 'kubernetes-admin' },
    });
    assert.equal(answer.status, 403);
  });

  test("a pod's token volume is as Kubernetes makes it", async () => {
    const pod = await post('/api/v1/namespaces/demo/pods', {
      metadata: { generateName: 'p-' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    const spec = asObject(pod['spec']);
    assert.equal(spec['serviceAccountName'], 'default');
    const [volume] = asList(spec['volumes']).map(asObject);
    assert.match(String(volume?.['name']), /^kube-api-access-[a-z0-9]{5}$/);
    const quiet = {
      metadata: { generateName: 'p-' },
      spec: { automountServiceAccountToken: false, containers: [{ name: 'c', image: 'i' }] },
    };
    assert.equal(asObject((await post('/api/v1/namespaces/demo/pods', quiet))['spec'])['volumes'], undefined);
  });
});

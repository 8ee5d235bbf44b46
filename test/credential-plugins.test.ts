import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { resources } from '../src/api/resources.ts';
import { describeError, IsthmusError, type ErrorCode } from '../src/core/index.ts';
import { CredentialPlugin, execConfig, KubeApiError, KubeClient, kubeconfig, type CredentialPluginOptions } from '../src/kube/index.ts';
import { ensureClusterPki } from '../src/lab/apiserver/index.ts';
import { startApiServer, type ApiServer } from './support/api-server.ts';
import { tokenOf } from './support/service-account.ts';

const v1 = 'client.authentication.k8s.io/v1';
const v1beta1 = 'client.authentication.k8s.io/v1beta1';
const admin = 'kubernetes-admin';
const main = path.resolve(import.meta.dirname, '../src/cli/main.ts');
const run = promisify(execFile);

/**
 * Notes what it was given, and prints the answer of its turn: `answer.1` for the first run, … or else `answer`. A file `fail` in
 * place of an answer is its exit code.
 */
const plugin = `#!/bin/sh
cd "$PLUGIN_DIR" || exit 9
echo "$KUBERNETES_EXEC_INFO" >> infos
echo "[$*]" >> args
n=$(wc -l < infos)
echo "plugin speaking" >&2
if [ -e fail ]; then exit "$(cat fail)"; fi
if [ -e "answer.$n" ]; then cat "answer.$n"; else cat answer; fi
`;

describe('exec credential plugins', { concurrency: false }, () => {
  let server: ApiServer;
  let administrator: KubeClient;
  /** Tokens of two accounts, and who they are. */
  let tokens: { readonly a: string; readonly b: string };
  const nameOf = (account: string): string => `system:serviceaccount:default:${account}`;
  let directory: string;
  let file: string;

  before(async () => {
    server = await startApiServer();
    administrator = KubeClient.fromKubeconfig({ path: server.kubeconfig });
    const make = async (name: string): Promise<string> => {
      await administrator.create(resources.serviceAccounts, {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name, namespace: 'default' },
      });
      return await tokenOf(administrator, { name, namespace: 'default' });
    };
    tokens = { a: await make('a'), b: await make('b') };
  });
  after(async () => {
    administrator[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(async (context) => {
    directory = await mkdtemp(path.join(tmpdir(), 'plugin-'));
    file = path.join(directory, 'config');
    await mkdir(path.join(directory, 'bin'));
    await script('bin/plugin', plugin);
    if ('after' in context) context.after(() => rm(directory, { recursive: true, force: true }));
  });

  async function script(name: string, text: string): Promise<string> {
    const at = path.join(directory, name);
    await writeFile(at, text);
    await chmod(at, 0o755);
    return at;
  }

  /** What the plugin prints, from now on or on one run alone. */
  async function answer(status: object | string, options: { run?: number; apiVersion?: string } = {}): Promise<void> {
    const text =
      typeof status === 'string' ? status : JSON.stringify({ kind: 'ExecCredential', apiVersion: options.apiVersion ?? v1, status });
    await writeFile(path.join(directory, options.run === undefined ? 'answer' : `answer.${options.run}`), text);
  }

  const exec = (fields: object = {}): Record<string, unknown> => ({
    apiVersion: v1,
    command: './bin/plugin',
    env: [{ name: 'PLUGIN_DIR', value: directory }],
    interactiveMode: 'Never',
    ...fields,
  });

  /** A kubeconfig (JSON is YAML) with this user; `cluster` adds to the server's fields. */
  async function writeConfig(user: object, cluster: object = {}): Promise<void> {
    const { server: address, ca = '' } = administrator.transport.config;
    const content = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [
        { name: 'test', cluster: { server: address, 'certificate-authority-data': Buffer.from(ca).toString('base64'), ...cluster } },
      ],
      users: [{ name: 'test', user }],
    };
    await writeFile(file, JSON.stringify(content));
  }

  /** With a plugin of its own, whose time the test holds. */
  function clientWith(options: CredentialPluginOptions, fields: object = {}): KubeClient {
    const { server: address, ca } = administrator.transport.config;
    const credentials = new CredentialPlugin(
      execConfig(exec(fields), { where: 'test', dir: directory, cluster: { server: address }, ca }),
      options,
    );
    return new KubeClient({ server: address, ...(ca !== undefined && { ca }), credentials, namespace: 'default', context: 'test' });
  }

  async function whoIs(client: KubeClient, signal?: AbortSignal): Promise<string> {
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const review = await client.request({ method: 'POST', path: '/apis/authentication.k8s.io/v1/selfsubjectreviews', body, signal });
    return (review as unknown as { status: { userInfo: { username: string } } }).status.userInfo.username;
  }

  function noted(name: string): string[] {
    const at = path.join(directory, name);
    return existsSync(at) ? readFileSync(at, 'utf8').trimEnd().split('\n') : [];
  }
  const runs = (): number => noted('infos').length;

  const fails = async (work: Promise<unknown>, code: ErrorCode, message?: RegExp): Promise<void> =>
    assert.rejects(work, (error) => {
      assert.ok(error instanceof IsthmusError, describeError(error));
      assert.equal(error.code, code, describeError(error));
      if (message !== undefined) assert.match(error.message, message);
      return true;
    });

  test('a token: one run for all requests of all clients; arguments, environment and cluster as kubectl gives them', async () => {
    await answer({ token: tokens.a }, { apiVersion: v1beta1 });
    const extensions = [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'here', of: [1] } }];
    await writeConfig(
      { exec: exec({ apiVersion: v1beta1, args: ['get-token', '--for', 'x y'], interactiveMode: null, provideClusterInfo: true }) },
      { extensions },
    );
    using first = KubeClient.fromKubeconfig({ path: file });
    using second = KubeClient.fromKubeconfig({ path: file });
    assert.deepEqual(await Promise.all([first, first, second].map((client) => whoIs(client))), [nameOf('a'), nameOf('a'), nameOf('a')]);
    assert.equal(await whoIs(second), nameOf('a'));
    assert.equal(runs(), 1);
    const { server: address, ca = '' } = administrator.transport.config;
    const told = JSON.parse(noted('infos')[0] ?? '') as unknown;
    const cluster = {
      server: address,
      'certificate-authority-data': Buffer.from(ca).toString('base64'),
      config: { audience: 'here', of: [1] },
    };
    assert.deepEqual(told, { kind: 'ExecCredential', apiVersion: v1beta1, spec: { cluster, interactive: false } });
    assert.deepEqual(noted('args'), ['[get-token --for x y]']);
  });

  for (const [name, fields] of [
    ['with the cluster', { apiVersion: v1, provideClusterInfo: true, args: null }],
    ['without it', { apiVersion: v1beta1, args: ['a', 'b'], interactiveMode: undefined }],
  ] as const) {
    test(`kubectl tells a plugin the same, ${name}`, { skip: hasKubectl() ? false : 'no kubectl' }, async () => {
      await answer({ token: tokens.b }, { apiVersion: fields.apiVersion });
      await writeConfig({ exec: exec(fields) });
      using client = KubeClient.fromKubeconfig({ path: file });
      assert.equal(await whoIs(client), nameOf('b'));
      const { stdout } = await run('kubectl', ['--kubeconfig', file, 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']);
      assert.equal(stdout, nameOf('b'));
      const [ours, kubectls] = noted('infos').map((info) => JSON.parse(info) as unknown);
      assert.deepEqual(ours, kubectls);
      assert.equal(noted('args')[0], noted('args')[1]);
    });
  }

  test('refreshed a minute before its end; one that cannot be refreshed is good until its end', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z');
    using client = clientWith({ clock: { now: () => now } });
    await answer({ token: tokens.a, expirationTimestamp: '2030-01-01T01:00:00Z' }, { run: 1 });
    await answer({ token: tokens.b, expirationTimestamp: '2030-01-01T03:00:00+01:00' });
    assert.equal(await whoIs(client), nameOf('a'));
    now += 59 * 60_000 - 1_000;
    assert.equal(await whoIs(client), nameOf('a'));
    assert.equal(runs(), 1);
    now += 2_000;
    await writeFile(path.join(directory, 'fail'), '1');
    assert.equal(await whoIs(client), nameOf('a'));
    assert.equal(await whoIs(client), nameOf('a'));
    assert.equal(runs(), 2, 'a failure stands for 5 s');
    now += 59_000;
    await fails(whoIs(client), 'KUBE_EXEC_FAILED');
    await rm(path.join(directory, 'fail'));
    now += 5_000;
    assert.deepEqual(await Promise.all([whoIs(client), whoIs(client), whoIs(client)]), [nameOf('b'), nameOf('b'), nameOf('b')]);
    assert.equal(runs(), 4);
    now += 50 * 60_000;
    assert.equal(await whoIs(client), nameOf('b'));
    assert.equal(runs(), 4);
  });

  test('a certificate, and another one after its end, for requests and watches', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z');
    using client = clientWith({ clock: { now: () => now } });
    const read = async (name: string, expirationTimestamp: string): Promise<object> => ({
      clientCertificateData: await readFile(path.join(server.stateDir, 'pki', `${name}.crt`), 'utf8'),
      clientKeyData: await readFile(path.join(server.stateDir, 'pki', `${name}.key`), 'utf8'),
      expirationTimestamp,
    });
    const pki = await ensureClusterPki({
      stateDir: server.stateDir,
      clusterName: 'test',
      nodeName: 'node-1',
      addresses: ['127.0.0.1'],
      port: server.port,
    });
    await answer(await read(path.basename(pki.files.adminKubeconfig, '.kubeconfig'), '2030-01-01T00:10:00Z'), { run: 1 });
    await answer(await read(path.basename(pki.files.controllerManagerKubeconfig, '.kubeconfig'), '2030-01-01T01:00:00Z'));
    const marked = (mark: string) => ({ namespace: mark, resourceVersion: '0', timeoutSeconds: 1 });
    const watch = async (mark: string): Promise<void> => {
      for await (const event of client.watch(resources.configMaps, marked(mark))) assert.ok(event.type !== 'DELETED');
    };
    assert.equal(await whoIs(client), admin);
    await watch('before');
    now += 11 * 60_000;
    await watch('after');
    assert.equal(await whoIs(client), 'system:kube-controller-manager');
    assert.equal(runs(), 2);
    const watched = (await server.audited()).filter(({ verb }) => verb === 'watch');
    const by = (mark: string): string[] => [
      ...new Set(watched.filter(({ requestURI }) => requestURI.includes(`/namespaces/${mark}/`)).map(({ user }) => user.username)),
    ];
    assert.deepEqual([by('before'), by('after')], [[admin], ['system:kube-controller-manager']]);
  });

  test('after a 401 the plugin is run once more, for all requests that were refused', async () => {
    using client = clientWith({});
    await answer({ token: 'revoked' }, { run: 1 });
    await answer({ token: tokens.a });
    assert.deepEqual(await Promise.all([1, 2, 3, 4].map(() => whoIs(client))), Array(4).fill(nameOf('a')));
    assert.equal(runs(), 2);
  });

  test('a 401 stays one when the plugin has nothing better, and does not run it again and again', async () => {
    using client = clientWith({});
    await answer({ token: 'revoked' });
    for (let attempt = 0; attempt < 3; attempt++) {
      await assert.rejects(whoIs(client), (error) => error instanceof KubeApiError && error.httpCode === 401);
    }
    assert.equal(runs(), 2);
  });

  const secret = 'hunter2-hunter2';
  const answers: readonly (readonly [what: string, status: object | string, message: RegExp, apiVersion?: string])[] = [
    ['nothing', '', /printed nothing/],
    ['no JSON', `${secret}\n`, /something else than JSON/],
    ['another kind', JSON.stringify({ kind: secret, apiVersion: v1 }), /no ExecCredential/],
    [
      'another version',
      { token: secret },
      /API version client\.authentication\.k8s\.io\/v1, but answered in client\.authentication\.k8s\.io\/v1beta1$/,
      v1beta1,
    ],
    ['no status', JSON.stringify({ kind: 'ExecCredential', apiVersion: v1 }), /without a status/],
    ['an empty status', {}, /neither a token nor a certificate/],
    ['a certificate alone', { clientCertificateData: secret }, /only a certificate or only a key/],
    ['a pair that is none', { clientCertificateData: secret, clientKeyData: secret }, /do not belong together/],
    ['a token of two lines', { token: `${secret}\nx-evil: 1` }, /no header can hold/],
    ['a token that is no string', { token: [secret] }, /token that is no string/],
    ['a bad end', { token: secret, expirationTimestamp: secret }, /no time of RFC 3339/],
    ['too much', secret.repeat(100_000), /more than/],
  ];
  for (const [what, status, message, apiVersion] of answers) {
    test(`KUBE_EXEC_INVALID, without a secret in it: ${what}`, async () => {
      using client = clientWith({});
      await answer(status, { ...(apiVersion !== undefined && { apiVersion }) });
      await assert.rejects(whoIs(client), (error) => {
        assert.ok(error instanceof IsthmusError);
        assert.equal(error.code, 'KUBE_EXEC_INVALID', describeError(error));
        assert.match(error.message, message);
        assert.doesNotMatch(`${describeError(error)} ${String(error.stack)} ${describeError(error.cause ?? '')}`, /hunter2/);
        return true;
      });
    });
  }

  test('a plugin that fails, is killed, is not there or cannot be run', async () => {
    await writeFile(path.join(directory, 'fail'), '3');
    using failing = clientWith({});
    await fails(whoIs(failing), 'KUBE_EXEC_FAILED', /exit code 3/);
    await script('bin/killed', '#!/bin/sh\nkill -9 $$\n');
    using killed = clientWith({}, { command: 'bin/killed' });
    await fails(whoIs(killed), 'KUBE_EXEC_FAILED', /ended by SIGKILL/);
    await writeFile(path.join(directory, 'bin/text'), plugin);
    await script('bin/lost', '#!/no/such/interpreter\n');
    for (const command of ['bin/none', 'bin/text', 'bin', 'bin/lost', 'isthmus-test-no-such-plugin']) {
      using client = clientWith({}, { command, args: [secret] });
      await fails(whoIs(client), 'KUBE_EXEC_NOT_FOUND', /^(?!.*hunter2).*cannot be run/);
    }
  });

  test('no hang: a plugin that does not end, one that will not, one that leaves somebody with its stdout', async () => {
    for (const text of ['#!/bin/sh\nexec sleep 1000\n', "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n"]) {
      await script('bin/slow', text);
      using client = clientWith({ timeoutMs: 300 }, { command: 'bin/slow' });
      await fails(whoIs(client), 'KUBE_EXEC_TIMEOUT', /within 0.3 s/);
    }
    await answer({ token: tokens.a });
    await script('bin/parent', `#!/bin/sh\nsleep 5 &\nexec "${directory}/bin/plugin"\n`);
    using client = clientWith({ timeoutMs: 4_000 }, { command: 'bin/parent' });
    assert.equal(await whoIs(client), nameOf('a'));
  });

  test('a request that is given up ends the plugin, unless another one waits for it', async () => {
    await run('mkfifo', [path.join(directory, 'started'), path.join(directory, 'go')]);
    await script('bin/waiting', `#!/bin/sh\ncd "$PLUGIN_DIR"\necho $$ > started\nread -r _ < go\nexec ./bin/plugin\n`);
    await answer({ token: tokens.a });
    using client = clientWith({}, { command: 'bin/waiting' });
    const giveUp = new AbortController();
    const [one, other] = [whoIs(client, giveUp.signal), whoIs(client)];
    await readFile(path.join(directory, 'started'), 'utf8');
    giveUp.abort(new Error('given up'));
    await assert.rejects(one, /given up/);
    await writeFile(path.join(directory, 'go'), 'go\n');
    assert.equal(await other, nameOf('a'));

    using alone = clientWith({}, { command: 'bin/waiting' });
    const stop = new AbortController();
    const request = whoIs(alone, stop.signal);
    const pid = Number(await readFile(path.join(directory, 'started'), 'utf8'));
    stop.abort(new Error('given up'));
    await assert.rejects(request, /given up/);
    while (existsSync(`/proc/${pid}/exe`)) await new Promise(setImmediate);
  });

  test('interactiveMode: what the plugin is told with and without a terminal', async () => {
    await answer({ token: tokens.a });
    const cases = [
      ['Never', true, false],
      ['IfAvailable', true, true],
      ['IfAvailable', false, false],
      ['Always', true, true],
    ] as const;
    for (const [interactiveMode, terminal, interactive] of cases) {
      using client = clientWith({ isTerminal: () => terminal }, { interactiveMode });
      assert.equal(await whoIs(client), nameOf('a'));
      assert.deepEqual(JSON.parse(noted('infos').at(-1) ?? ''), { kind: 'ExecCredential', apiVersion: v1, spec: { interactive } });
    }
    using client = clientWith({ isTerminal: () => false }, { interactiveMode: 'Always' });
    await fails(whoIs(client), 'KUBE_EXEC_INTERACTIVE');
    assert.equal(runs(), cases.length);
  });

  test('what a kubeconfig may not say', async () => {
    const users: readonly (readonly [user: object, code: ErrorCode, message: RegExp])[] = [
      [{ exec: exec({ command: '' }) }, 'KUBE_CONFIG', /context "test".*exec\.command is missing/],
      [{ exec: exec({ apiVersion: undefined }) }, 'KUBE_CONFIG', /apiVersion is missing/],
      [{ exec: exec({ apiVersion: 'client.authentication.k8s.io/v1alpha1' }) }, 'KUBE_CONFIG', /apiVersion is .*v1alpha1/],
      [{ exec: exec({ interactiveMode: undefined }) }, 'KUBE_CONFIG', /interactiveMode is missing/],
      [{ exec: exec({ interactiveMode: 'Sometimes' }) }, 'KUBE_CONFIG', /interactiveMode is "Sometimes"/],
      [{ exec: exec({ env: [{ value: secret }] }) }, 'KUBE_CONFIG', /env is not a list/],
      [{ exec: exec({ args: 'one' }) }, 'KUBE_CONFIG', /args is not a list/],
      [{ 'auth-provider': { name: 'gcp', config: { 'access-token': secret } } }, 'KUBE_AUTH_PROVIDER', /auth-provider "gcp"/],
      [{ exec: exec(), 'auth-provider': { name: 'oidc' } }, 'KUBE_AUTH_PROVIDER', /auth-provider "oidc"/],
      [{ tokenFile: 'none' }, 'KUBE_CONFIG', /none, which a kubeconfig names as tokenFile, cannot be read/],
    ];
    for (const [user, code, message] of users) {
      await writeConfig(user);
      await fails((async () => Promise.resolve(kubeconfig({ path: file })))(), code, message);
    }
  });

  test('what stands in the kubeconfig itself counts before a plugin, a token file before a token', async () => {
    await writeFile(path.join(directory, 'token'), `${tokens.b}\n`);
    const users: readonly (readonly [user: object, name: string])[] = [
      [{ token: tokens.a, exec: exec() }, nameOf('a')],
      [{ tokenFile: 'token', exec: exec() }, nameOf('b')],
      [{ tokenFile: 'token', token: tokens.a }, nameOf('b')],
      [{ token: '', exec: null, 'auth-provider': null, tokenFile: path.join(directory, 'token') }, nameOf('b')],
    ];
    for (const [user, name] of users) {
      await writeConfig(user);
      using client = KubeClient.fromKubeconfig({ path: file });
      assert.equal(await whoIs(client), name);
    }
    assert.equal(runs(), 0);
  });

  test("on the command line: the plugin's stderr, the hint, and no secret", async () => {
    const status = async (): Promise<{ code: number; stderr: string }> => {
      const args = [main, 'multicluster', 'status', '--kubeconfig', file];
      const ended = await run(process.execPath, args, { env: { ...process.env, NO_COLOR: '1' } }).catch((error: unknown) => error);
      const { code = 0, stderr } = ended as { code?: number; stderr: string };
      return { code, stderr };
    };
    await answer({ token: tokens.a });
    await writeFile(path.join(directory, 'fail'), '7');
    await writeConfig({ exec: exec({ args: [secret] }) });
    const failed = await status();
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /plugin speaking[\s\S]*exit code 7 \[KUBE_EXEC_FAILED\]/);
    await writeConfig({
      exec: exec({ command: 'isthmus-test-no-such-plugin', args: [secret], installHint: 'Install it \x1b[31mfrom here' }),
    });
    const missing = await status();
    assert.match(
      missing.stderr,
      /isthmus-test-no-such-plugin cannot be run: there is none in PATH \[KUBE_EXEC_NOT_FOUND\]; Install it \^\[\[31mfrom here/,
    );
    assert.doesNotMatch(failed.stderr + missing.stderr, /hunter2/);
  });
});

function hasKubectl(): boolean {
  return (process.env['PATH'] ?? '').split(':').some((at) => existsSync(path.join(at, 'kubectl')));
}

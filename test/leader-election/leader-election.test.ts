import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { suite, test } from 'node:test';

import { resources } from '../../src/api/resources.ts';
import { aborted, createLogger } from '../../src/core/index.ts';
import { KubeClient, kubeconfig, leadWhileElected, type LeaderElectionOptions } from '../../src/kube/index.ts';
import { TestServer } from '../../src/lab/apiserver/testing/test-server.ts';

process.env['ISTHMUS_LOG'] = 'silent';
const log = createLogger('test');
const place = { namespace: 'default', name: 'lock' };

interface Turn {
  readonly identity: string;
  readonly is: 'leading' | 'not leading';
  /** By the monotonic clock, milliseconds. */
  readonly at: number;
}

/** Who led when, as the candidates of this process say it. */
class Turns {
  readonly all: Turn[] = [];
  #wake = Promise.withResolvers<undefined>();

  say(identity: string, is: Turn['is']): void {
    this.all.push({ identity, is, at: performance.now() });
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers<undefined>();
  }

  /** The first such turn, from the `from`th on. */
  async until(identity: string, is: Turn['is'], from = 0): Promise<Turn> {
    for (;;) {
      const turn = this.all.slice(from).find((one) => one.identity === identity && one.is === is);
      if (turn !== undefined) return turn;
      await this.#wake.promise;
    }
  }

  /** Starts one more candidate. */
  candidate(client: KubeClient, identity: string, options: Partial<LeaderElectionOptions> = {}) {
    const stop = new AbortController();
    const lead = async (signal: AbortSignal): Promise<void> => {
      this.say(identity, 'leading');
      await aborted(signal);
      this.say(identity, 'not leading');
    };
    const done = leadWhileElected({ client, ...place, identity, log, ...options }, lead, stop.signal);
    return {
      done,
      stop: async () => {
        stop.abort();
        await done;
      },
    };
  }
}

suite('leader election', () => {
  test('of two candidates one leads; when it stops, the other does at once', async () => {
    await using server = await TestServer.start();
    using client = KubeClient.fromKubeconfig({ path: server.pki.files.adminKubeconfig });
    const turns = new Turns();
    const first = turns.candidate(client, 'first');
    await turns.until('first', 'leading');
    const second = turns.candidate(client, 'second');
    await first.stop();
    const ended = await turns.until('first', 'not leading');
    const begun = await turns.until('second', 'leading');
    // It looks every half second, and need not wait for the lease to end.
    assert.ok(begun.at - ended.at < 1_500, `${begun.at - ended.at} ms`);
    const lease = await client.get(resources.leases, place);
    assert.deepEqual([lease.spec?.holderIdentity, lease.spec?.leaseDurationSeconds], ['second', 3]);
    await second.stop();
    assert.equal((await client.get(resources.leases, place)).spec?.holderIdentity, '');
    assert.deepEqual(
      turns.all.map(({ identity, is }) => `${identity} ${is}`),
      ['first leading', 'first not leading', 'second leading', 'second not leading'],
    );
  });

  test('a leader that is cut off stops before another leads, and leads again only after it', async () => {
    await using server = await TestServer.start();
    await using door = await Door.open(server.port);
    const config = kubeconfig({ path: server.pki.files.adminKubeconfig });
    using client = new KubeClient(config);
    using behindDoor = new KubeClient({ ...config, server: `https://127.0.0.1:${door.port}` });
    const turns = new Turns();
    const first = turns.candidate(behindDoor, 'first', { leaseMs: 1_200 });
    await turns.until('first', 'leading');
    const second = turns.candidate(client, 'second', { leaseMs: 1_200 });
    door.hold();
    const ended = await turns.until('first', 'not leading');
    const begun = await turns.until('second', 'leading');
    assert.ok(ended.at < begun.at, `ended ${ended.at}, begun ${begun.at}`);
    const before = turns.all.length;
    door.reopen();
    await second.stop();
    const again = await turns.until('first', 'leading', before);
    assert.ok((await turns.until('second', 'not leading')).at < again.at);
    await first.stop();
  });

  test('a leader whose Lease somebody else annotates goes on leading', async () => {
    await using server = await TestServer.start();
    using client = KubeClient.fromKubeconfig({ path: server.pki.files.adminKubeconfig });
    const turns = new Turns();
    const only = turns.candidate(client, 'only', { leaseMs: 600 });
    await turns.until('only', 'leading');
    const noted = await client.patch(resources.leases, place, { type: 'merge', body: { metadata: { annotations: { note: 'x' } } } });
    // Until it was renewed on top of that.
    for (;;) {
      const { metadata } = await client.get(resources.leases, place);
      if (metadata.resourceVersion !== noted.metadata.resourceVersion) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual(
      turns.all.map(({ is }) => is),
      ['leading'],
    );
    await only.stop();
  });

  test('a leader that was starved for longer than its deadline sends no write, even before its timers run', async () => {
    await using server = await TestServer.start();
    using client = KubeClient.fromKubeconfig({ path: server.pki.files.adminKubeconfig });
    const stop = new AbortController();
    const late = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } });
    let wasAborted: boolean | undefined;
    let outcome: unknown;
    const lead = async (signal: AbortSignal, writing: KubeClient): Promise<void> => {
      await writing.create(resources.configMaps, late('in-time'));
      // Nothing else of this process runs meanwhile.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
      wasAborted = signal.aborted;
      outcome = await writing.create(resources.configMaps, late('too-late')).catch((error: unknown) => error);
      stop.abort();
    };
    await leadWhileElected({ client, ...place, identity: 'a', log, leaseMs: 600 }, lead, stop.signal);
    assert.equal(wasAborted, false, 'the test is one of the guard only when the signal is late');
    assert.match(String(outcome), /the lease could not be renewed/);
    assert.equal(await client.find(resources.configMaps, { namespace: 'default', name: 'too-late' }), undefined);
    assert.ok(await client.find(resources.configMaps, { namespace: 'default', name: 'in-time' }));
  });

  test('what fails while it leads is told, and the Lease given up', async () => {
    await using server = await TestServer.start();
    using client = KubeClient.fromKubeconfig({ path: server.pki.files.adminKubeconfig });
    const fails = (): Promise<void> => Promise.reject(new Error('cannot lead'));
    const never = new AbortController().signal;
    await assert.rejects(leadWhileElected({ client, ...place, identity: 'a', log }, fails, never), /cannot lead/);
    assert.equal((await client.get(resources.leases, place)).spec?.holderIdentity, '');
  });

  test('when a leading process is killed, another leads within four seconds', async (t) => {
    await using server = await TestServer.start();
    await using first = new CandidateProcess(server, 'first');
    await first.says('leading');
    await using second = new CandidateProcess(server, 'second');
    await second.says('started');
    first.kill();
    const killedAt = performance.now();
    await second.says('leading');
    const ms = Math.round(performance.now() - killedAt);
    t.diagnostic(`taken over after ${ms} ms`);
    assert.ok(ms < 4_000, `${ms} ms`);
    // Not before the lease was over: the killed one may have renewed it up to a second before.
    assert.ok(ms > 1_500, `${ms} ms`);
  });
});

/** A way to the API server that can fall silent, as a network does: nothing is closed, and nothing comes through. */
class Door implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;

  private constructor(port: number) {
    this.#server = createServer((outer) => {
      const inner = connect(port, '127.0.0.1');
      outer.pipe(inner).pipe(outer);
      for (const socket of [outer, inner]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => [outer, inner].forEach((one) => one.destroy()));
        if (this.#isSilent) socket.unpipe().pause();
      }
    });
  }

  static async open(port: number): Promise<Door> {
    const door = new Door(port);
    door.#server.listen(0, '127.0.0.1');
    await once(door.#server, 'listening');
    return door;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  hold(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** What was silent breaks, and what comes anew goes through. */
  reopen(): void {
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reopen();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

class CandidateProcess implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #lines: string[] = [];
  #wake = Promise.withResolvers<undefined>();

  constructor(server: TestServer, identity: string) {
    const program = path.join(import.meta.dirname, 'candidate.ts');
    this.#process = spawn(process.execPath, [program, server.pki.files.adminKubeconfig, identity], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#ended = once(this.#process, 'exit');
    const { stdout } = this.#process;
    assert.ok(stdout);
    createInterface(stdout).on('line', (line) => {
      this.#lines.push(line);
      this.#wake.resolve(undefined);
      this.#wake = Promise.withResolvers<undefined>();
    });
  }

  async says(line: string): Promise<void> {
    while (!this.#lines.includes(line)) {
      await Promise.race([this.#wake.promise, this.#ended.then(() => Promise.reject(new Error(`ended before it said ${line}`)))]);
    }
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGTERM');
    await this.#ended;
  }
}

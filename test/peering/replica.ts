import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** One line of a process's log. */
export interface LogLine {
  readonly msg: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

const program = path.resolve(import.meta.dirname, '../../src/cli/main.ts');

/** `isthmus peering` as a process of its own, outside of the cluster that it peers. */
export class Replica implements AsyncDisposable {
  readonly name: string;
  readonly lines: LogLine[] = [];
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  hasEnded = false;
  #wake = Promise.withResolvers<undefined>();

  constructor(options: { readonly name: string; readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }) {
    this.name = options.name;
    const env = { PATH: process.env['PATH'], POD_NAME: options.name, ...options.env };
    this.#process = spawn(process.execPath, [program, 'peering', ...options.args], { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.#ended = once(this.#process, 'close').then(() => {
      this.hasEnded = true;
      this.#changed();
    });
    const { stderr } = this.#process;
    if (stderr === null) throw new Error('no stderr');
    createInterface(stderr).on('line', (line) => {
      this.lines.push(line.startsWith('{') ? (JSON.parse(line) as LogLine) : { msg: line, level: 'none' });
      if (process.env['ISTHMUS_TEST_LOG'] !== undefined) process.stderr.write(`${this.name} ${line}\n`);
      this.#changed();
    });
  }

  /** The first line with this message, from the `from`th on. */
  async says(msg: string, from = 0): Promise<LogLine> {
    for (;;) {
      const line = this.lines.slice(from).find((one) => one.msg === msg);
      if (line !== undefined) return line;
      if (this.hasEnded)
        throw new Error(`${this.name} ended before it said "${msg}":\n${this.lines.map((one) => JSON.stringify(one)).join('\n')}`);
      await this.#wake.promise;
    }
  }

  /** Whether it has said that it leads, and not yet that it does no more. */
  get isLeading(): boolean {
    return this.lines.findLast(({ msg }) => msg === 'leading' || msg === 'leading no more')?.msg === 'leading';
  }

  async port(of: 'port' | 'monitoring' | 'readiness'): Promise<number> {
    return Number((await this.says('ready'))[of]);
  }

  /** A page of its monitoring or readiness listener. */
  async get(of: 'monitoring' | 'readiness', page: string): Promise<{ readonly status: number; readonly text: string }> {
    const response = await fetch(`http://127.0.0.1:${await this.port(of)}${page}`);
    return { status: response.status, text: await response.text() };
  }

  /** The value of a metric; labels as they are written, such as `{peer="cluster-2"}`. Undefined when there is no such series. */
  async metric(series: string): Promise<number | undefined> {
    const { text } = await this.get('monitoring', '/metrics');
    const line = text.split('\n').find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  /** Resolves when it has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#process.kill(signal);
    await this.#ended;
  }

  /** As a machine that is suspended: it does nothing, and its connections stay. */
  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  resume(): void {
    this.#process.kill('SIGCONT');
  }

  get exitCode(): number | null {
    return this.#process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) await this.end('SIGTERM');
  }

  #changed(): void {
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers<undefined>();
  }
}

/** What a Service is to replicas: one address, behind which some port answers that is open. */
export class ServiceAddress implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  targets: readonly number[] = [];

  private constructor() {
    this.#server = createServer((socket) => this.#pass(socket, [...this.targets]));
  }

  static async open(): Promise<ServiceAddress> {
    const address = new ServiceAddress();
    address.#server.listen(0, '127.0.0.1');
    await once(address.#server, 'listening');
    return address;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends the connections that there are. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #pass(outer: Socket, [port, ...others]: readonly number[]): void {
    if (port === undefined) {
      outer.destroy();
      return;
    }
    const inner = connect(port, '127.0.0.1');
    this.#sockets.add(outer);
    inner.once('error', () => this.#pass(outer, others));
    inner.once('connect', () => {
      inner.removeAllListeners('error');
      for (const [one, other] of [
        [outer, inner],
        [inner, outer],
      ] as const) {
        one.on('error', () => undefined).on('close', () => other.destroy());
      }
      outer.on('close', () => this.#sockets.delete(outer));
      outer.pipe(inner).pipe(outer);
    });
  }
}

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';

/**
 * What a container runtime does with an unpacked image, in a shell: mount and PID namespaces of its own, /dev and /proc, the mounts
 * that are asked for, the root read-only, and nothing of the machine in it. Arguments: root, user, mounts (`from:to` each), `--`, program.
 */
const script = `
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/dev"
for name in null zero full random urandom; do : > "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
while [ "$1" != -- ]; do mount --rbind "\${1%%:*}" "$root/\${1#*:}"; shift; done
shift
mount -t proc proc "$root/proc"
mount -o remount,bind,ro,nosuid,nodev "$root"
cd "$root"
# In a user namespace with one user there are no groups to set.
if [ "$user" = 0:0 ]; then exec chroot "$root" "$@"; fi
exec chroot --userspec="$user" "$root" "$@"`;

export interface ContainerOptions {
  /** The unpacked image. Mount points that are missing are made in it, as runtimes do. */
  readonly root: string;
  /** `uid:gid`. */
  readonly user: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Folders and files of this machine, writable, by path in the container. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

/** A running container; its network namespace is that of the test. Disposing of it kills it. */
export class Container implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #waiting = new Set<() => void>();
  #output = '';

  /** Its exit code, null when a signal ended it. */
  readonly exit: Promise<number | null>;

  constructor({ root, user, env = {}, mounts = {}, command }: ContainerOptions) {
    const points = Object.entries(mounts).map(([to, from]) => {
      // The image's own link; a runtime follows it inside of the image.
      const point = to.replace(/^\/var\/run\//, '/run/');
      makeMountPoint(from, path.join(root, point));
      return `${from}:${point}`;
    });
    const flags = ['--mount', '--pid', '--fork', '--kill-child=SIGKILL'];
    this.#child = spawn('unshare', [...flags, 'sh', '-euc', script, 'container', root, user, ...points, '--', ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...env },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        for (const check of this.#waiting) check();
      });
    }
    this.exit = once(this.#child, 'close').then(([code]: unknown[]) => {
      for (const check of this.#waiting) check();
      return typeof code === 'number' ? code : null;
    });
  }

  /** Everything that it has written, on both streams. */
  get output(): string {
    return this.#output;
  }

  /** Resolves when it has written this; fails with its output when it ends or a minute passes without. */
  async until(text: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const check = (): void => {
      if (this.#output.includes(text)) resolve(undefined);
      else if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        reject(new Error(`ended without "${text}":\n${this.#output}`));
    };
    const timer = setTimeout(() => reject(new Error(`no "${text}" within a minute:\n${this.#output}`)), 60_000);
    this.#waiting.add(check);
    check();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(check);
    }
  }

  /** Sends it SIGTERM, as the kubelet does, and waits for its end. */
  async stop(): Promise<number | null> {
    this.#signal('SIGTERM');
    return await this.exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#signal('SIGKILL');
    await this.exit;
  }

  /** To its first process: changing its user took the signal from it that it would get at the end of its parent, `unshare`. */
  #signal(name: NodeJS.Signals): void {
    const { pid } = this.#child;
    const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    process.kill(Number(first === '' ? pid : first), name);
  }
}

/** Runs a program of the image to its end. */
export async function runContainer(options: ContainerOptions): Promise<{ readonly code: number | null; readonly output: string }> {
  await using container = new Container(options);
  const code = await container.exit;
  return { code, output: container.output };
}

function makeMountPoint(from: string, to: string): void {
  if (existsSync(to)) return;
  const isFolder = statSync(from).isDirectory();
  mkdirSync(isFolder ? to : path.dirname(to), { recursive: true });
  if (!isFolder) writeFileSync(to, '');
}

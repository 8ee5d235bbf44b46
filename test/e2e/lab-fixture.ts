import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import type { LabStatus } from '../../src/lab/index.ts';

const run = promisify(execFile);

export const repository = path.resolve(import.meta.dirname, '../..');
export const isthmus = path.join(repository, 'bin/isthmus');

/** The kubectl to test with: KUBECTL_BIN, or the one on PATH; undefined when there is none. */
export function findKubectl(): string | undefined {
  const given = process.env['KUBECTL_BIN'];
  if (given !== undefined && given !== '') return given;
  try {
    return execFileSync('sh', ['-c', 'command -v kubectl'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** What a shell command printed; a failure is a result too. */
export interface ShellResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder and ports of its own for one test's lab, so that it never meets a lab of the user's. */
export class TestLab {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'isthmus-e2e-'));
  readonly kubeconfig = path.join(this.dir, 'lab', 'kubeconfig');
  readonly env: NodeJS.ProcessEnv;

  /** `apiPort`: the first of the loopback ports of its API servers. */
  constructor(apiPort: number) {
    this.env = {
      ...process.env,
      ISTHMUS_LAB_DIR: path.join(this.dir, 'lab'),
      ISTHMUS_LAB_PORT: String(apiPort),
      KUBECONFIG: this.kubeconfig,
      HOME: this.dir,
      NODE_TEST_CONTEXT: undefined,
    };
  }

  /** Runs an isthmus command; throws with what it printed when it fails. */
  async isthmus(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.try(isthmus, args);
    if (code !== 0) throw new Error(`isthmus ${args.join(' ')} exited with ${String(code)}\n${stdout}${stderr}`);
    return stdout;
  }

  /** `isthmus lab status -o json`. */
  async status(): Promise<LabStatus> {
    return JSON.parse(await this.isthmus('lab', 'status', '-o', 'json')) as LabStatus;
  }

  /** Runs a program and resolves with its exit code and output, whatever they are. */
  async try(program: string, args: readonly string[]): Promise<ShellResult> {
    try {
      const { stdout, stderr } = await run(program, args, { env: this.env, cwd: this.dir, maxBuffer: 64 << 20, timeout: 180_000 });
      return { code: 0, stdout, stderr };
    } catch (error) {
      const failure = error as { code?: number | string; stdout?: string; stderr?: string };
      if (failure.stdout === undefined) throw error;
      return { code: typeof failure.code === 'number' ? failure.code : -1, stdout: failure.stdout, stderr: failure.stderr ?? '' };
    }
  }

  /** Runs lines of bash as a user would type them: kubectl is the real one, istioctl is isthmus. */
  async bash(script: string, kubectl: string): Promise<string> {
    const prelude = `set -euo pipefail\nkubectl() { ${quote(kubectl)} "$@"; }\nistioctl() { ${quote(isthmus)} "$@"; }\nisthmus() { ${quote(isthmus)} "$@"; }\n`;
    const { code, stdout, stderr } = await this.try('bash', ['-c', prelude + script]);
    if (code !== 0) throw new Error(`exit ${String(code)}\n$ ${script}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts an isthmus command and leaves it running. */
  spawn(...args: string[]): ReturnType<typeof spawn> {
    return spawn(isthmus, args, { env: this.env, cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Takes the lab down, whatever state it is in, and removes its folder. */
  async remove(): Promise<void> {
    await this.try(isthmus, ['lab', 'down']);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * What the machine looks like from outside the lab: interfaces, addresses, routes, rules, nftables, mounts and network namespaces. Two
 * equal snapshots mean that nothing was left behind.
 */
export function hostSnapshot(): string {
  const commands = ['ip -o addr show', 'ip rule show', 'ip route show table all', 'ip netns list', 'nft list tables'];
  const network = commands.map((command) => {
    try {
      return execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch {
      return '';
    }
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8');
  return [...network.map((text) => text.replaceAll(/(valid_lft|preferred_lft) \S+/g, '')), mounts].join('---\n');
}

/** Processes that have this text in their environment or arguments. */
export function processesWith(text: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/environ`, 'latin1').includes(text) || readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text)
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

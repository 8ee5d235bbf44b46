import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import type { Termination } from './pod-status.ts';

/** What is known of a container's runs, the present one included. */
export interface Runs {
  /** Number of the present run, counted from 1; 0 before the first. */
  readonly attempt: number;
  readonly restarts: number;
  /** What to wait before the next restart, milliseconds. */
  readonly wait: number;
  /** How the run before ended. */
  readonly last?: Termination;
  /** How the present run ended, when none will follow. */
  readonly final?: Termination;
}

/** The history of one container, in its folder on the node: the next node agent goes on with it. */
export class ContainerHistory {
  readonly #folder: string;
  readonly #logFolder: string;
  #runs: Runs = { attempt: 0, restarts: 0, wait: 0 };
  /** Whether an earlier node agent has written it. */
  readonly restored: boolean;

  constructor(folder: string, logFolder: string) {
    this.#folder = folder;
    this.#logFolder = logFolder;
    this.restored = existsSync(this.#file);
    if (this.restored) this.#runs = JSON.parse(readFileSync(this.#file, 'utf8')) as Runs;
  }

  get runs(): Runs {
    return this.#runs;
  }

  /** The folder of the present run. */
  get runFolder(): string {
    return path.join(this.#folder, String(this.#runs.attempt));
  }

  change(change: Partial<Runs>): void {
    this.#runs = { ...this.#runs, ...change };
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#runs));
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** Begins another run; only the one before is kept. */
  begin(): void {
    this.#forget(this.#runs.attempt - 1);
    this.change({ attempt: this.#runs.attempt + 1 });
  }

  /** The log of the present run, or of the one before; named from 0, as by the kubelet. */
  logFile(previous = false): string {
    return this.#logFileOf(this.#runs.attempt - (previous ? 1 : 0));
  }

  get #file(): string {
    return path.join(this.#folder, 'runs.json');
  }

  #logFileOf(attempt: number): string {
    return path.join(this.#logFolder, `${attempt - 1}.log`);
  }

  #forget(attempt: number): void {
    if (attempt < 1) return;
    rmSync(path.join(this.#folder, String(attempt)), { recursive: true, force: true });
    rmSync(this.#logFileOf(attempt), { force: true });
    rmSync(`${this.#logFileOf(attempt)}.1`, { force: true });
  }
}

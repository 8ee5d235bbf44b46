import { EventEmitter, on } from 'node:events';
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';

/** Bytes after which a log is renamed to `.1` and begun anew; two are kept, as by the kubelet. */
const rotateAt = 10 * 1024 * 1024;

type Stream = 'stdout' | 'stderr';

export interface LogReadOptions {
  /** Go on until the container has ended. */
  readonly follow?: boolean;
  /** Only so many of the last lines. */
  readonly tailLines?: number | undefined;
  /** Only lines since then, milliseconds since 1970. */
  readonly since?: number | undefined;
  /** Begin each line with its time. */
  readonly timestamps?: boolean;
  /** The file is no container's: its lines have no time and no stream. */
  readonly plain?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The log of one run of a container in the format of the container runtime interface, `TIME STREAM F LINE`, so that
 * log collectors can read it: lines of both streams in the order in which they were heard.
 */
export class LogFile {
  readonly #path: string;
  readonly #changes = new EventEmitter();
  #fd: number;
  #size: number;
  #open = 2;

  constructor(file: string) {
    this.#path = file;
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
    this.#fd = openSync(file, 'a', 0o640);
    this.#size = fstatSync(this.#fd).size;
    this.#changes.setMaxListeners(0);
  }

  /** Takes in one stream until its end. */
  consume(stream: Stream, input: Readable): void {
    let rest: Buffer = Buffer.alloc(0);
    input.on('data', (chunk: Buffer) => {
      const whole = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = whole.lastIndexOf(10) + 1;
      // A line without an end is kept in memory, up to 16 kB: then it counts as one, as in containerd.
      const cut = end === 0 && whole.length > 16_384 ? whole.length : end;
      rest = whole.subarray(cut);
      if (cut > 0) this.#append(stream, whole.subarray(0, cut));
    });
    input.once('close', () => {
      if (rest.length > 0) this.#append(stream, rest);
      if (--this.#open === 0) {
        closeSync(this.#fd);
        this.#changes.emit('change');
      }
    });
  }

  /** What was logged, as the caller of `kubectl logs` wants to see it; in chunks of whole lines. */
  async *read(options: LogReadOptions = {}): AsyncGenerator<string, void, void> {
    const { follow = false, signal } = options;
    // Listening begins before reading, so that nothing that comes in between is missed.
    const stop = new AbortController();
    const changes = on(this.#changes, 'change', { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) });
    try {
      const reader = new Reader(this.#path);
      try {
        let lines = [...readLines(`${this.#path}.1`), ...reader.next()];
        if (options.since !== undefined) lines = lines.filter((line) => Date.parse(timeOf(line)) >= (options.since ?? 0));
        if (options.tailLines !== undefined) lines = options.tailLines === 0 ? [] : lines.slice(-options.tailLines);
        yield render(lines, options);
        while (follow) {
          // Asked before reading: what is written before the end is read after it was told.
          const ended = this.#open === 0;
          yield render(reader.next(), options);
          if (ended) return;
          await changes.next();
        }
      } finally {
        reader.close();
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    } finally {
      stop.abort();
    }
  }

  #append(stream: Stream, lines: Buffer): void {
    const time = timestamp();
    const prefix = Buffer.from(`${time} ${stream} F `);
    const parts: Buffer[] = [];
    for (let from = 0; from < lines.length;) {
      const newline = lines.indexOf(10, from);
      const to = newline < 0 ? lines.length : newline + 1;
      parts.push(prefix, lines.subarray(from, to));
      if (newline < 0) parts.push(Buffer.from('\n'));
      from = to;
    }
    this.#size += writeSync(this.#fd, Buffer.concat(parts));
    if (this.#size > rotateAt) this.#rotate();
    this.#changes.emit('change');
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, 'a', 0o640);
    this.#size = 0;
  }
}

/** Reads a log that no node agent writes any more: the previous run of a container. */
export function readOldLog(file: string, options: LogReadOptions = {}): string {
  let lines = [...readLines(`${file}.1`), ...readLines(file)];
  const { since, tailLines } = options;
  if (since !== undefined && options.plain !== true) lines = lines.filter((line) => Date.parse(timeOf(line)) >= since);
  if (tailLines !== undefined) lines = tailLines === 0 ? [] : lines.slice(-tailLines);
  return render(lines, options);
}

function readLines(file: string): readonly string[] {
  if (!existsSync(file)) return [];
  const reader = new Reader(file);
  try {
    return reader.next();
  } finally {
    reader.close();
  }
}

/** Reads a growing file; after it was renamed away, the rest of it and then the new one. */
class Reader {
  readonly #path: string;
  #fd: number;
  #rest = '';

  constructor(file: string) {
    this.#path = file;
    this.#fd = openSync(file, 'r');
  }

  /** The whole lines written since the last call. */
  next(): string[] {
    let text = this.#rest + this.#readAll();
    const now = openSync(this.#path, 'r');
    if (fstatSync(now).ino === fstatSync(this.#fd).ino) closeSync(now);
    else {
      closeSync(this.#fd);
      this.#fd = now;
      text += this.#readAll();
    }
    const end = text.lastIndexOf('\n') + 1;
    this.#rest = text.slice(end);
    return end === 0 ? [] : text.slice(0, end - 1).split('\n');
  }

  close(): void {
    closeSync(this.#fd);
  }

  #readAll(): string {
    const parts: Buffer[] = [];
    for (;;) {
      const buffer = Buffer.allocUnsafe(65_536);
      const length = readSync(this.#fd, buffer);
      if (length === 0) return Buffer.concat(parts).toString('utf8');
      parts.push(buffer.subarray(0, length));
    }
  }
}

function timeOf(line: string): string {
  return line.slice(0, line.indexOf(' '));
}

/** `TIME STREAM F text`: without the first three, or with the time. */
function render(lines: readonly string[], { timestamps = false, plain = false }: LogReadOptions): string {
  if (plain) return lines.map((line) => `${line}\n`).join('');
  return lines
    .map((line) => {
      const time = timeOf(line);
      const content = line.slice(time.length + ' stdout F '.length);
      return timestamps ? `${time} ${content}\n` : `${content}\n`;
    })
    .join('');
}

/** RFC 3339 with nanoseconds, as container runtimes write it. */
function timestamp(): string {
  return `${new Date().toISOString().slice(0, -1)}000000Z`;
}

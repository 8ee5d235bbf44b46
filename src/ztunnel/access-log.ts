/** What a line says about a connection, in the order in which the line says it. Absent: not known, and not written. */
export interface AccessLogFields {
  readonly 'src.addr': string;
  readonly 'src.workload'?: string | undefined;
  readonly 'src.namespace'?: string | undefined;
  readonly 'src.identity'?: string | undefined;
  readonly 'src.cluster'?: string | undefined;
  readonly 'dst.addr': string;
  readonly 'dst.hbone_addr'?: string | undefined;
  readonly 'dst.service'?: string | undefined;
  readonly 'dst.workload'?: string | undefined;
  readonly 'dst.namespace'?: string | undefined;
  readonly 'dst.identity'?: string | undefined;
  readonly 'dst.cluster'?: string | undefined;
  readonly direction: 'inbound' | 'outbound';
  readonly bytes_sent?: number | undefined;
  readonly bytes_recv?: number | undefined;
  readonly duration?: string | undefined;
  readonly error?: string | undefined;
}

const order = [
  'src.addr',
  'src.workload',
  'src.namespace',
  'src.identity',
  'src.cluster',
  'dst.addr',
  'dst.hbone_addr',
  'dst.service',
  'dst.workload',
  'dst.namespace',
  'dst.identity',
  'dst.cluster',
  'direction',
  'bytes_sent',
  'bytes_recv',
  'duration',
  'error',
] as const satisfies readonly (keyof AccessLogFields)[];

/** Written without quotes, as upstream writes them. */
const bare: ReadonlySet<string> = new Set(['src.addr', 'dst.addr', 'dst.hbone_addr', 'bytes_sent', 'bytes_recv']);

export type AccessLogLevel = 'info' | 'warn' | 'error';

export interface AccessLogOptions {
  readonly format: 'text' | 'json';
  /** Takes whole lines; default standard output. */
  readonly write?: (lines: string) => void;
  /** Milliseconds since 1970, with fractions; default the system's. */
  readonly now?: () => number;
}

/**
 * One line for each connection, in upstream's format, so that what reads ztunnel's log reads ours. Lines of one turn of the
 * event loop are written together.
 */
export class AccessLog {
  readonly #format: 'text' | 'json';
  readonly #write: (lines: string) => void;
  readonly #now: () => number;
  #pending = '';

  constructor(options: AccessLogOptions) {
    this.#format = options.format;
    this.#write = options.write ?? ((lines) => process.stdout.write(lines));
    this.#now = options.now ?? preciseNow;
  }

  /** A connection is over: `connection complete`, at level error when it failed. */
  complete(fields: AccessLogFields): void {
    this.#line(fields.error === undefined ? 'info' : 'error', 'connection complete', fields);
  }

  /** A connection was refused before anything was known about it. */
  failed(fields: Pick<AccessLogFields, 'src.addr' | 'dst.addr' | 'direction' | 'error'>): void {
    this.#line('warn', 'connection failed', fields);
  }

  flush(): void {
    if (this.#pending === '') return;
    const lines = this.#pending;
    this.#pending = '';
    this.#write(lines);
  }

  #line(level: AccessLogLevel, message: string, fields: AccessLogFields): void {
    const time = timestamp(this.#now());
    if (this.#pending === '')
      setImmediate(() => {
        this.flush();
      });
    this.#pending += this.#format === 'json' ? jsonLine(time, level, message, fields) : textLine(time, level, message, fields);
  }
}

function textLine(time: string, level: AccessLogLevel, message: string, fields: AccessLogFields): string {
  const parts: string[] = [];
  for (const name of order) {
    const value = fields[name];
    if (value === undefined) continue;
    parts.push(`${name}=${bare.has(name) ? String(value) : JSON.stringify(value)}`);
  }
  return `${time}\t${level}\taccess\t${message}\t${parts.join(' ')}\n`;
}

function jsonLine(time: string, level: AccessLogLevel, message: string, fields: AccessLogFields): string {
  const line: Record<string, unknown> = { level, time, scope: 'access', message };
  for (const name of order) if (fields[name] !== undefined) line[name] = fields[name];
  return `${JSON.stringify(line)}\n`;
}

/** RFC 3339 with microseconds. */
function timestamp(ms: number): string {
  const micros = Math.floor((ms % 1) * 1000);
  return `${new Date(Math.floor(ms)).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

/** The wall clock's milliseconds with the monotonic clock's fraction: lines of one millisecond keep their order. */
function preciseNow(): number {
  return Date.now() + ((performance.timeOrigin + performance.now()) % 1);
}

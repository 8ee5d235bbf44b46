import { readFileSync } from 'node:fs';

import { isObject } from '../json.ts';
import type { Answer, TestServer } from './test-server.ts';

/** One call to a real kube-apiserver, as test/fixtures/captures/kube-api/README.md describes it. */
export interface RecordedCase {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly raw?: string;
  readonly anonymous?: boolean;
  readonly watch?: boolean;
  /** Seconds that the recorder waited for controllers before the call; here nothing needs time. */
  readonly sleep?: number;
}

export interface RecordedAnswer {
  readonly status: number;
  readonly warnings: readonly string[];
  readonly body: unknown;
}

export interface Recording {
  readonly case: RecordedCase;
  readonly answer: RecordedAnswer;
}

export function readRecordings(): Recording[] {
  const file = new URL('../../../../test/fixtures/captures/kube-api/answers.jsonl', import.meta.url);
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Recording);
}

/** Plays a call; `answers` holds the bodies of the calls before it, for the values that it takes from them. */
export async function play(server: TestServer, recorded: RecordedCase, answers: ReadonlyMap<string, unknown>): Promise<RecordedAnswer> {
  const fill = (value: unknown): unknown => fillIn(value, answers);
  const body = recorded.raw ?? (recorded.body === undefined ? undefined : JSON.stringify(fill(recorded.body)));
  const answer = await server.call({
    method: recorded.method,
    path: fill(recorded.path) as string,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...lowerCase(fill(recorded.headers ?? {}) as Record<string, string>),
    },
    ...(body !== undefined && { body }),
    ...(recorded.anonymous === true && { anonymous: true }),
  });
  return { status: answer.status, warnings: answer.warnings, body: bodyOf(recorded, answer) };
}

function bodyOf(recorded: RecordedCase, { text, contentType }: Answer): unknown {
  if (recorded.watch === true) {
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as unknown);
  }
  return contentType.includes('json') ? (JSON.parse(text) as unknown) : text;
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** `${id:dotted.path}` stands for a value of an earlier answer. */
function fillIn(value: unknown, answers: ReadonlyMap<string, unknown>): unknown {
  if (typeof value === 'string') {
    const whole = /^\$\{([\w-]+):([^}]+)\}$/.exec(value);
    if (whole !== null) return dig(answers.get(whole[1] ?? ''), whole[2] ?? '');
    return value.replaceAll(/\$\{([\w-]+):([^}]+)\}/g, (_, id: string, path: string) => String(dig(answers.get(id), path)));
  }
  if (Array.isArray(value)) return value.map((item) => fillIn(item, answers));
  if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillIn(item, answers)]));
  return value;
}

function dig(value: unknown, path: string): unknown {
  let at = value;
  for (const key of path.split('.')) at = Array.isArray(at) ? (at as unknown[])[Number(key)] : isObject(at) ? at[key] : undefined;
  return at;
}

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';

import { LogFile, readOldLog, type LogReadOptions } from './log-file.ts';

function open() {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'isthmus-log-')), 'c', '0.log');
  const log = new LogFile(file);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  log.consume('stdout', stdout);
  log.consume('stderr', stderr);
  const read = async (options?: LogReadOptions): Promise<string> => {
    let text = '';
    for await (const chunk of log.read(options)) text += chunk;
    return text;
  };
  const end = async (): Promise<void> => {
    stdout.end();
    stderr.end();
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  };
  return { file, log, stdout, stderr, read, end };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('lines are kept in the CRI format, split ones as one', async () => {
  const { file, stdout, stderr, read, end } = open();
  stdout.write('one\ntw');
  stderr.write('oops\n');
  stdout.write('o\nno end');
  await end();
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) F /);
  assert.equal(await read(), 'one\noops\ntwo\nno end\n');
  assert.equal(await read({ tailLines: 2 }), 'two\nno end\n');
  assert.equal(await read({ tailLines: 0 }), '');
  assert.match(await read({ tailLines: 1, timestamps: true }), /^\S+Z no end\n$/);
  assert.equal(await read({ since: Date.now() + 1_000 }), '');
  assert.equal(readOldLog(file, { tailLines: 1 }), 'no end\n');
});

test('who follows hears each line once, and the end', async () => {
  const { log, stdout, end } = open();
  stdout.write('before\n');
  await turn();
  const heard: string[] = [];
  const following = (async () => {
    for await (const chunk of log.read({ follow: true })) heard.push(chunk);
  })();
  await turn();
  for (let i = 0; i < 50; i++) {
    stdout.write(`line ${i}\n`);
    if (i % 7 === 0) await turn();
  }
  await end();
  await following;
  assert.equal(heard.join(''), `before\n${Array.from({ length: 50 }, (_, i) => `line ${i}\n`).join('')}`);
});

test('who stops following is let go', async () => {
  const { log, stdout } = open();
  const stop = new AbortController();
  const following = (async () => {
    for await (const chunk of log.read({ follow: true, signal: stop.signal })) assert.equal(typeof chunk, 'string');
  })();
  stdout.write('x\n');
  await turn();
  stop.abort();
  await following;
});

test('a long log is rotated: the last of it stays, and readers miss nothing of that', async () => {
  const { file, stdout, read, end } = open();
  const line = `${'x'.repeat(1_000)}\n`;
  for (let i = 0; i < 24; i++) {
    stdout.write(line.repeat(1_000));
    await turn();
  }
  stdout.write('last\n');
  await end();
  assert.ok(existsSync(`${file}.1`));
  assert.ok(statSync(file).size < 12 * 1024 * 1024);
  const text = await read();
  assert.ok(text.endsWith('x\nlast\n'));
  assert.ok(text.length > 10 * 1024 * 1024);
});

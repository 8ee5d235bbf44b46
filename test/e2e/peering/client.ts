/**
 * The steady load, inside a pod: `client.ts URL INTERVAL`. Begins a request every INTERVAL milliseconds on a connection of its own, whatever
 * became of those before, and prints one JSON line for each that has ended.
 */
import { get } from 'node:http';
import type { Socket } from 'node:net';

import type { RequestLine } from './steady-load.ts';

const [url = '', interval = '50'] = process.argv.slice(2);
const patience = 3_000;

interface Answer {
  readonly version: string;
  readonly instance: string;
  readonly port: number;
}

function send(): void {
  const start = Date.now();
  let port = 0;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = get(url, { agent: false, signal: AbortSignal.timeout(patience) });
  request.once('socket', (socket: Socket) => {
    socket.once('connect', () => {
      port = socket.localPort ?? 0;
    });
  });
  request.once('error', reject).once('response', (response) => {
    const text: string[] = [];
    response.setEncoding('utf8').on('data', (part: string) => text.push(part));
    response.once('error', reject).once('end', () => {
      if (response.statusCode === 200) resolve(JSON.parse(text.join('')) as Answer);
      else reject(new Error(`status ${String(response.statusCode)}`));
    });
  });
  promise.then(
    (answer) => print({ start, end: Date.now(), localPort: port, answer }),
    (error: unknown) => print({ start, end: Date.now(), localPort: port, error: error instanceof Error ? error.message : String(error) }),
  );
}

function print(line: RequestLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

setInterval(send, Number(interval));
process.once('SIGTERM', () => process.exit(0));

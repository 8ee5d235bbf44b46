import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { TLSSocket } from 'node:tls';

import { WebSocketServer } from 'ws';

import { describeError, type Logger } from '../../core/index.ts';
import type { ContainerRecord } from './container.ts';
import { execProtocols, serveExec } from './exec-session.ts';
import type { LogReadOptions } from './log-file.ts';

/** A container as this server sees it. */
export interface ServedContainer {
  /** Undefined while it does not run. */
  readonly record: ContainerRecord | undefined;
  hasLog(previous: boolean): boolean;
  logs(options: LogReadOptions & { readonly previous?: boolean }): AsyncGenerator<string, void, void>;
}

export interface KubeletServerOptions {
  readonly host: string;
  readonly port: number;
  /** Files, PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly find: (namespace: string, pod: string, container: string) => ServedContainer | undefined;
  readonly log: Logger;
}

/** The only client: the API server, which has asked who its caller is and what they may. */
const apiServerName = 'system:apiserver';

/**
 * Serves the kubelet's `/containerLogs/…` and `/exec/…` to the API server until `signal` is aborted. A caller without the
 * API server's certificate gets no further than the TLS handshake, one with another of the cluster's is refused.
 */
export async function serveKubelet(options: KubeletServerOptions, signal: AbortSignal): Promise<void> {
  const { host, port, log } = options;
  const server = https.createServer({
    ca: readFileSync(options.ca),
    cert: readFileSync(options.cert),
    key: readFileSync(options.key),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  });
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => execProtocols.find((protocol) => offered.has(protocol)) ?? false,
  });
  server.on('request', (request, response) => {
    void answer(request, response, options).catch((error: unknown) => {
      log.warn({ url: request.url, error: describeError(error) }, 'request failed');
      if (!response.headersSent) response.writeHead(500, { 'Content-Type': 'text/plain' }).end(describeError(error));
      else response.destroy();
    });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => upgrade(request, socket, head, sockets, options));
  server.on('tlsClientError', (error) => log.debug({ error: describeError(error) }, 'TLS refused'));
  server.listen(port, host);
  await once(server, 'listening');
  signal.addEventListener(
    'abort',
    () => {
      server.close();
      server.closeAllConnections();
      for (const client of sockets.clients) client.terminate();
    },
    { once: true },
  );
}

async function answer(request: IncomingMessage, response: ServerResponse, options: KubeletServerOptions): Promise<void> {
  const refuse = (status: number, text: string): void => void response.writeHead(status, { 'Content-Type': 'text/plain' }).end(text);
  const url = new URL(request.url ?? '/', 'https://node');
  if (!isApiServer(request)) {
    refuse(403, 'only the API server may ask');
    return;
  }
  const [kind, namespace, pod, name] = url.pathname.slice(1).split('/').map(decodeURIComponent);
  if (kind === 'healthz') {
    response.end('ok');
    return;
  }
  if (kind !== 'containerLogs' || namespace === undefined || pod === undefined || name === undefined) {
    refuse(404, 'not found');
    return;
  }
  const container = options.find(namespace, pod, name);
  const query = url.searchParams;
  const previous = query.get('previous') === 'true';
  if (container === undefined) {
    refuse(404, `pod "${pod}" has no container "${name}" on this node`);
    return;
  }
  if (!container.hasLog(previous)) {
    refuse(
      400,
      previous
        ? `previous terminated container "${name}" in pod "${pod}" not found`
        : `container "${name}" in pod "${pod}" is waiting to start: ContainerCreating`,
    );
    return;
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.flushHeaders();
  let left = Number(query.get('limitBytes') ?? Infinity);
  for await (const text of container.logs({ ...logOptions(query), previous, signal: gone.signal })) {
    let chunk = Buffer.from(text);
    if (chunk.length > left) chunk = chunk.subarray(0, left);
    left -= chunk.length;
    if (chunk.length > 0 && !response.write(chunk))
      await Promise.race([once(response, 'drain'), finished(response).catch(() => undefined)]);
    if (left <= 0 || gone.signal.aborted) break;
  }
  response.end();
}

function logOptions(query: URLSearchParams): LogReadOptions {
  const tail = query.get('tailLines');
  const seconds = query.get('sinceSeconds');
  const time = query.get('sinceTime');
  return {
    follow: query.get('follow') === 'true',
    timestamps: query.get('timestamps') === 'true',
    tailLines: tail === null ? undefined : Number(tail),
    since: seconds !== null ? Date.now() - Number(seconds) * 1000 : time !== null ? Date.parse(time) : undefined,
  };
}

function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, sockets: WebSocketServer, options: KubeletServerOptions): void {
  socket.on('error', () => undefined);
  const refuse = (status: string, text: string): void => {
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
    );
  };
  const url = new URL(request.url ?? '/', 'https://node');
  const [kind, namespace = '', pod = '', name = ''] = url.pathname.slice(1).split('/').map(decodeURIComponent);
  if (!isApiServer(request)) refuse('403 Forbidden', 'only the API server may ask');
  else if (kind !== 'exec') refuse('404 Not Found', 'not found');
  else {
    const record = options.find(namespace, pod, name)?.record;
    if (record === undefined) {
      refuse('500 Internal Server Error', `unable to upgrade connection: container not found ("${name}")`);
      return;
    }
    const query = url.searchParams;
    const on = (parameter: string): boolean => query.get(parameter) === '1' || query.get(parameter) === 'true';
    sockets.handleUpgrade(request, socket, head, (connection) => {
      serveExec(connection, {
        record,
        command: query.getAll('command'),
        stdin: on('input'),
        stdout: on('output'),
        stderr: on('error') && !on('tty'),
        tty: on('tty'),
        log: options.log,
      });
    });
  }
}

function isApiServer(request: IncomingMessage): boolean {
  const { socket } = request;
  return socket instanceof TLSSocket && socket.getPeerX509Certificate()?.toLegacyObject().subject.CN === apiServerName;
}

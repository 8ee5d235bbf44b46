import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { describeError } from '../../../core/index.ts';
import { asList, asObject, asString } from '../json.ts';
import { badRequest, internalError, StatusError } from '../status.ts';
import type { Store } from '../storage/store.ts';

/** The server's identity towards the nodes, PEM. */
export interface KubeletCredentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A container on a node: where the node's agent serves it. */
interface ContainerPlace {
  readonly host: string;
  readonly port: number;
  /** `<namespace>/<pod>/<container>` */
  readonly path: string;
}

/** Query parameters of pods/log, passed on as they are. */
const logParameters = ['follow', 'previous', 'sinceSeconds', 'sinceTime', 'tailLines', 'limitBytes', 'timestamps', 'stream'] as const;

/** What pods/exec calls a stream, and what a kubelet calls it. */
const execStreams = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' } as const;

/** Passes requests for a container's log and for commands in it on to the agent of its node. */
export class KubeletProxy {
  readonly #store: Store;
  readonly #agent: https.Agent;
  readonly #tls: KubeletCredentials;

  constructor(store: Store, credentials: KubeletCredentials) {
    this.#store = store;
    this.#tls = credentials;
    this.#agent = new https.Agent({ keepAlive: false });
  }

  /** GET pods/log: the node's answer as it comes, until either side ends it. */
  async logs(pod: AnyObject, query: URLSearchParams, response: ServerResponse): Promise<void> {
    const container = chooseContainer(pod, query.get('container') ?? '');
    if (nodeName(pod) === undefined) {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end();
      return;
    }
    const passed = new URLSearchParams();
    for (const name of logParameters) {
      const value = query.get(name);
      if (value !== null) passed.set(name, value);
    }
    const place = this.#place(pod, container);
    const upstream = await this.#get(place, `/containerLogs/${place.path}?${passed.toString()}`, response);
    if (upstream.statusCode !== 200) throw await kubeletError(upstream);
    response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-cache, private' });
    response.flushHeaders();
    upstream.pipe(response);
    upstream.once('error', () => response.destroy());
    response.once('close', () => upstream.destroy());
  }

  /**
   * GET pods/exec with an upgrade to WebSocket: connects the client with the node, byte by byte. `head` is what the client sent
   * beyond its request. Throws the API's error while nothing has been answered.
   */
  async exec(pod: AnyObject, request: IncomingMessage, query: URLSearchParams, socket: Duplex, head: Buffer): Promise<void> {
    const container = chooseContainer(pod, query.get('container') ?? '');
    if (nodeName(pod) === undefined) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
    const passed = new URLSearchParams();
    for (const [stream, name] of Object.entries(execStreams)) if (isOn(query.get(stream))) passed.set(name, '1');
    for (const word of query.getAll('command')) passed.append('command', word);
    if (query.getAll('command').length === 0) throw badRequest('you must specify at least 1 command for the container');
    if (![...passed.keys()].some((name) => name !== 'tty' && name !== 'command')) {
      throw badRequest('you must specify at least one of stdin, stdout, stderr');
    }
    const place = this.#place(pod, container);
    const headers: Record<string, string> = { connection: 'Upgrade', upgrade: 'websocket' };
    for (const name of ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-protocol', 'sec-websocket-extensions']) {
      const value = request.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const upstream = https.get({ ...this.#options(place), path: `/exec/${place.path}?${passed.toString()}`, headers });
    socket.once('close', () => upstream.destroy());
    upstream.once('error', (error) => reject(unreachable(place, error)));
    upstream.once('response', (response) => {
      void kubeletError(response).then(reject);
    });
    upstream.once('upgrade', (response, node, nodeHead) => {
      socket.write(upgradeHead(response));
      if (nodeHead.length > 0) socket.write(nodeHead);
      if (head.length > 0) node.write(head);
      node.pipe(socket).pipe(node);
      node.once('error', () => socket.destroy());
      socket.once('error', () => node.destroy());
      node.once('close', () => socket.destroy());
      socket.once('close', () => node.destroy());
      resolve(undefined);
    });
    await promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #options(place: ContainerPlace): https.RequestOptions {
    return { host: place.host, port: place.port, agent: this.#agent, ca: this.#tls.ca, cert: this.#tls.cert, key: this.#tls.key };
  }

  #get(place: ContainerPlace, path: string, response: ServerResponse): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = https.get({ ...this.#options(place), path }, resolve);
    request.once('error', (error) => reject(unreachable(place, error)));
    response.once('close', () => request.destroy());
    return promise;
  }

  /** The node's address, as its Node object tells it. */
  #place(pod: AnyObject, container: string): ContainerPlace {
    const name = nodeName(pod) ?? '';
    const node = this.#store.get('nodes.', '', name)?.object;
    const status = asObject(node?.['status']);
    const addresses = asList(status['addresses']).map(asObject);
    const host = asString(addresses.find(({ type }) => type === 'InternalIP')?.['address']);
    if (host === undefined) throw internalError(`no preferred addresses found for node ${JSON.stringify(name)}`);
    const port = asObject(asObject(status['daemonEndpoints'])['kubeletEndpoint'])['Port'];
    const path = [pod.metadata.namespace ?? '', pod.metadata.name, container].map(encodeURIComponent).join('/');
    return { host, port: typeof port === 'number' ? port : 10_250, path };
  }
}

function nodeName(pod: AnyObject): string | undefined {
  const name = asString(asObject(pod['spec'])['nodeName']);
  return name === '' ? undefined : name;
}

function isOn(value: string | null): boolean {
  return value === 'true' || value === '1';
}

/** The container asked for; the only one, or the one that an annotation names, when none is. */
function chooseContainer(pod: AnyObject, wanted: string): string {
  const spec = asObject(pod['spec']);
  const names = (field: string): string[] => asList(spec[field]).map((container) => String(asObject(container)['name']));
  const [containers, init] = [names('containers'), names('initContainers')];
  const { name, annotations } = pod.metadata;
  if (wanted !== '') {
    if ([...containers, ...init, ...names('ephemeralContainers')].includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const preferred = annotations?.['kubectl.kubernetes.io/default-container'];
  if (preferred !== undefined && containers.includes(preferred)) return preferred;
  const [only] = containers;
  if (only !== undefined && containers.length === 1) return only;
  const also = init.length === 0 ? '' : ` or one of the init containers: [${init.join(' ')}]`;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${containers.join(' ')}]${also}`);
}

async function kubeletError(response: IncomingMessage): Promise<StatusError> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const message = Buffer.concat(chunks).toString('utf8').trim();
  const code = response.statusCode ?? 500;
  const reasons: Readonly<Record<number, string>> = { 400: 'BadRequest', 403: 'Forbidden', 404: 'NotFound', 500: 'InternalError' };
  const reason = reasons[code];
  return new StatusError({ code, message: message || `the node answered ${String(code)}`, ...(reason !== undefined && { reason }) });
}

function unreachable({ host, port }: ContainerPlace, error: Error): StatusError {
  return internalError(`error dialing backend: ${host}:${String(port)}: ${describeError(error)}`);
}

function upgradeHead(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${String(response.statusCode)} ${response.statusMessage ?? 'Switching Protocols'}`];
  for (let i = 0; i + 1 < response.rawHeaders.length; i += 2)
    lines.push(`${response.rawHeaders[i] ?? ''}: ${response.rawHeaders[i + 1] ?? ''}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

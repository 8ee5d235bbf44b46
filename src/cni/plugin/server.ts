import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import path from 'node:path';

import { describeError, IsthmusError, type Logger } from '../../core/index.ts';

/** A pod that the container runtime is about to start. */
export interface PluginAdd {
  /** Path of its network namespace on the node. */
  readonly netns: string;
  readonly name: string;
  readonly namespace: string;
  /** Missing when the plugin of an upstream agent asks. */
  readonly uid: string | undefined;
  readonly addresses: readonly string[];
}

export interface PluginServerOptions {
  /** Folder of the socket pluginevent.sock. */
  readonly runDir: string;
  /** Resolves when the pod is in the mesh or need not be; the plugin fails the pod's start when it rejects. */
  readonly onAdd: (pod: PluginAdd) => Promise<void>;
  readonly ready: () => boolean;
  readonly log: Logger;
}

/** Longest request body, bytes. */
const maxBody = 64 * 1024;

/** Serves the plugin over HTTP on a unix socket that only root may open (upstream's protocol). LINUX_SYSCALL-like errors of listen. */
export async function listenForPlugin(options: PluginServerOptions): Promise<Server> {
  const socket = path.join(options.runDir, 'pluginevent.sock');
  mkdirSync(options.runDir, { recursive: true });
  rmSync(socket, { force: true });
  const server = createServer((request, response) => void answer(request, response, options));
  server.listen(socket);
  await once(server, 'listening');
  chmodSync(socket, 0o600);
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, { onAdd, ready, log }: PluginServerOptions): Promise<void> {
  const end = (status: number, text: string): void => void response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
  if (request.method === 'GET' && request.url === '/readyz') {
    end(ready() ? 200 : 503, ready() ? 'ok' : 'not ready');
    return;
  }
  if (request.method !== 'POST' || request.url !== '/cmdadd') {
    end(404, 'no such path');
    return;
  }
  let pod: PluginAdd;
  try {
    pod = parseAdd(await readBody(request));
  } catch (error) {
    end(400, describeError(error));
    return;
  }
  try {
    await onAdd(pod);
    end(200, '');
  } catch (error) {
    log.warn({ pod: `${pod.namespace}/${pod.name}`, error: describeError(error) }, 'pod not put into the mesh at its start');
    end(500, describeError(error));
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > maxBody) throw new IsthmusError('CNI_PLUGIN_REQUEST', 'the request is too long');
  }
  return text;
}

function parseAdd(text: string): PluginAdd {
  const invalid = (what: string, cause?: unknown): IsthmusError =>
    new IsthmusError('CNI_PLUGIN_REQUEST', `request of the CNI plugin: ${what}`, cause === undefined ? {} : { cause });
  let body: { Netns?: unknown; PodName?: unknown; PodNamespace?: unknown; PodUID?: unknown; IPs?: unknown };
  try {
    body = JSON.parse(text) as typeof body;
  } catch (error) {
    throw invalid('not JSON', error);
  }
  const { Netns: netns, PodName: name, PodNamespace: namespace, PodUID: uid, IPs: ips } = body;
  if (typeof netns !== 'string' || typeof name !== 'string' || typeof namespace !== 'string')
    throw invalid('Netns, PodName or PodNamespace is missing');
  if (!Array.isArray(ips)) throw invalid('IPs is missing');
  const addresses = ips.flatMap((entry: unknown) => {
    const ip = (entry as { Address?: { IP?: unknown } } | null)?.Address?.IP;
    return typeof ip === 'string' && ip !== '' ? [ip] : [];
  });
  return { netns, name, namespace, uid: typeof uid === 'string' && uid !== '' ? uid : undefined, addresses };
}

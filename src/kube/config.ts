import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

import { parse } from 'yaml';

import { IsthmusError } from '../core/index.ts';

/** Where an API server is and how to prove who one is. */
export interface ClientConfig {
  /** `https://host:port`, without a path. */
  readonly server: string;
  /** PEM; without it the system's roots count. */
  readonly ca?: string;
  /** Name to check the server's certificate against, when it differs from the host in `server`. */
  readonly tlsServerName?: string;
  /** PEM client certificate and key. */
  readonly cert?: string;
  readonly key?: string;
  /** Called for every request, so that a rotated token is used at once. */
  readonly token?: () => string;
  /** Namespace that the context or the pod names; default `default`. */
  readonly namespace: string;
  /** The kubeconfig context this came from, `in-cluster` for a pod. */
  readonly context: string;
}

const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The configuration of a pod: its service account's token and KUBERNETES_SERVICE_HOST. Throws KUBE_CONFIG outside of one. */
export function inClusterConfig(env: NodeJS.ProcessEnv = process.env): ClientConfig {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host === undefined) {
    throw new IsthmusError('KUBE_CONFIG', 'not running in a pod: KUBERNETES_SERVICE_HOST is not set', { hint: 'give --kubeconfig FILE' });
  }
  const read = (name: string): string => readFileSync(path.join(serviceAccountDir, name), 'utf8');
  try {
    return {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      ca: read('ca.crt'),
      token: cachedFile(path.join(serviceAccountDir, 'token')),
      namespace: read('namespace').trim(),
      context: 'in-cluster',
    };
  } catch (error) {
    throw new IsthmusError('KUBE_CONFIG', `the pod's service account cannot be read from ${serviceAccountDir}`, { cause: error });
  }
}

/** Reads a token file at most every 10 s; the kubelet replaces it well before it expires. */
function cachedFile(file: string): () => string {
  let content = readFileSync(file, 'utf8').trim();
  let readAt = Date.now();
  return () => {
    if (Date.now() - readAt > 10_000) {
      content = readFileSync(file, 'utf8').trim();
      readAt = Date.now();
    }
    return content;
  };
}

interface NamedEntry {
  readonly name?: unknown;
  readonly [field: string]: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/** The kubeconfig files that count, as kubectl finds them: the argument, KUBECONFIG (several, by `:`), ~/.kube/config. */
export function kubeconfigPaths(given: string | undefined, env: NodeJS.ProcessEnv = process.env): readonly string[] {
  if (given !== undefined) return [given];
  const fromEnv = env['KUBECONFIG'];
  if (fromEnv !== undefined && fromEnv !== '') return fromEnv.split(':').filter((file) => file !== '');
  return [path.join(homedir(), '.kube', 'config')];
}

/**
 * The configuration of one context of a kubeconfig: certificates and keys inline or by file, bearer tokens inline or by
 * file. Throws KUBE_CONFIG, naming the contexts there are. Exec plugins and auth providers are refused.
 */
export function kubeconfig(options: { path?: string | undefined; context?: string | undefined } = {}): ClientConfig {
  const files = kubeconfigPaths(options.path);
  const documents = files.flatMap((file) => readKubeconfig(file, files.length > 1));
  const current =
    options.context ??
    documents.map(({ content }) => stringField(content, 'current-context')).find((name) => name !== undefined && name !== '');
  const names = documents.flatMap(({ content }) => entries(content, 'contexts').map((entry) => String(entry.name)));
  const where = files.join(':');
  if (current === undefined) {
    throw new IsthmusError('KUBE_CONFIG', `${where} has no current context`, { hint: `give --context, one of: ${names.join(', ')}` });
  }
  const context = find(documents, 'contexts', current, 'context');
  if (context === undefined) {
    throw new IsthmusError('KUBE_CONFIG', `no context "${current}" in ${where}`, { hint: `there are: ${names.join(', ') || 'none'}` });
  }
  const clusterName = stringField(context.fields, 'cluster') ?? '';
  const cluster = find(documents, 'clusters', clusterName, 'cluster');
  const server = cluster === undefined ? undefined : stringField(cluster.fields, 'server');
  if (cluster === undefined || server === undefined) {
    throw new IsthmusError('KUBE_CONFIG', `context "${current}" in ${where} names the cluster "${clusterName}", which has no server`);
  }
  const user = find(documents, 'users', stringField(context.fields, 'user') ?? '', 'user');
  if (user !== undefined && ('exec' in user.fields || 'auth-provider' in user.fields)) {
    throw new IsthmusError(
      'KUBE_CONFIG',
      `the user of context "${current}" in ${where} needs a credential plugin, which is not supported`,
      {
        hint: 'use a context with a client certificate or a token',
      },
    );
  }
  const ca = material(cluster, 'certificate-authority');
  const tlsServerName = stringField(cluster.fields, 'tls-server-name');
  const cert = user && material(user, 'client-certificate');
  const key = user && material(user, 'client-key');
  const token = user && tokenOf(user);
  return {
    server: server.replace(/\/+$/, ''),
    namespace: stringField(context.fields, 'namespace') ?? 'default',
    context: current,
    ...(ca !== undefined && { ca }),
    ...(tlsServerName !== undefined && { tlsServerName }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(token !== undefined && { token }),
  };
}

interface Document {
  readonly file: string;
  readonly content: Fields;
}

interface Found {
  readonly dir: string;
  readonly fields: Fields;
}

function readKubeconfig(file: string, mayBeAbsent: boolean): Document[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (mayBeAbsent) return [];
    throw new IsthmusError('KUBE_CONFIG', `the kubeconfig ${file} cannot be read`, {
      hint: 'set KUBECONFIG or give --kubeconfig FILE',
      cause: error,
    });
  }
  let content: unknown;
  try {
    content = parse(text);
  } catch (error) {
    throw new IsthmusError('KUBE_CONFIG', `the kubeconfig ${file} is not YAML`, { cause: error });
  }
  if (typeof content !== 'object' || content === null) throw new IsthmusError('KUBE_CONFIG', `the kubeconfig ${file} is empty`);
  return [{ file, content: content as Fields }];
}

function entries(content: Fields, list: string): readonly NamedEntry[] {
  const value = content[list];
  return Array.isArray(value) ? value.filter((entry): entry is NamedEntry => typeof entry === 'object' && entry !== null) : [];
}

function find(documents: readonly Document[], list: string, name: string, field: string): Found | undefined {
  for (const { file, content } of documents) {
    const fields = entries(content, list).find((entry) => entry.name === name)?.[field];
    if (typeof fields === 'object' && fields !== null) return { dir: path.dirname(file), fields: fields as Fields };
  }
  return undefined;
}

function stringField(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' ? value : undefined;
}

/** `<name>-data` (base64) or the file named by `<name>`, relative to the kubeconfig. */
function material(found: Found, name: string): string | undefined {
  const data = stringField(found.fields, `${name}-data`);
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const file = stringField(found.fields, name);
  return file === undefined ? undefined : readFileSync(path.resolve(found.dir, file), 'utf8');
}

function tokenOf(found: Found): (() => string) | undefined {
  const token = stringField(found.fields, 'token');
  if (token !== undefined) return () => token;
  const file = stringField(found.fields, 'tokenFile');
  return file === undefined ? undefined : cachedFile(path.resolve(found.dir, file));
}

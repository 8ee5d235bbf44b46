import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

import { parse } from 'yaml';

import { IsthmusError } from '../core/index.ts';
import { execConfig } from './credential-plugin/config.ts';
import { CredentialPlugin } from './credential-plugin/credential-plugin.ts';
import type { CredentialSource } from './credentials.ts';

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
  /** Asked for every request, in place of `token`, `cert` and `key`. */
  readonly credentials?: CredentialSource;
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
      token: cachedFile(path.join(serviceAccountDir, 'token'), read('token').trim()),
      namespace: read('namespace').trim(),
      context: 'in-cluster',
    };
  } catch (error) {
    throw new IsthmusError('KUBE_CONFIG', `the pod's service account cannot be read from ${serviceAccountDir}`, { cause: error });
  }
}

/**
 * Reads a token file at most every 10 s; the kubelet replaces it well before it expires. While it cannot be read, the last token
 * counts, as with client-go: it may be good for a while.
 */
function cachedFile(file: string, first: string): () => string {
  let content = first;
  let readAt = Date.now();
  return () => {
    if (Date.now() - readAt > 10_000) {
      readAt = Date.now();
      try {
        content = readFileSync(file, 'utf8').trim();
      } catch {
        // The server says 401 when the last one has become too old.
      }
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
 * file, exec plugins. Throws KUBE_CONFIG, naming the contexts there are, and KUBE_AUTH_PROVIDER for what came before exec plugins.
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
  const ca = material(cluster, 'certificate-authority');
  const tlsServerName = stringField(cluster.fields, 'tls-server-name');
  const cert = user && material(user, 'client-certificate');
  const key = user && material(user, 'client-key');
  const token = user && tokenOf(user);
  // As with client-go: what stands in the kubeconfig itself counts, and the plugin is not run.
  const own = cert !== undefined || token !== undefined;
  const credentials =
    user && !own ? credentialsOf(user, { where: `the user of context "${current}" in ${where}`, cluster, ca }) : undefined;
  return {
    server: server.replace(/\/+$/, ''),
    namespace: stringField(context.fields, 'namespace') ?? 'default',
    context: current,
    ...(ca !== undefined && { ca }),
    ...(tlsServerName !== undefined && { tlsServerName }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(token !== undefined && { token }),
    ...(credentials !== undefined && { credentials }),
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

/** An empty string counts as none, as with kubectl. */
function stringField(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** `<name>-data` (base64) or the file named by `<name>`, relative to the kubeconfig. */
function material(found: Found, name: string): string | undefined {
  const data = stringField(found.fields, `${name}-data`);
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const file = stringField(found.fields, name);
  return file === undefined ? undefined : readReferenced(path.resolve(found.dir, file), name);
}

/** A token file counts before a token, which is its first value then. */
function tokenOf(found: Found): (() => string) | undefined {
  const token = stringField(found.fields, 'token');
  const name = stringField(found.fields, 'tokenFile');
  if (name === undefined) return token === undefined ? undefined : () => token;
  const file = path.resolve(found.dir, name);
  return cachedFile(file, readReferenced(file, 'tokenFile').trim());
}

function readReferenced(file: string, field: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new IsthmusError('KUBE_CONFIG', `the file ${file}, which a kubeconfig names as ${field}, cannot be read`, { cause: error });
  }
}

function credentialsOf(
  { fields, dir }: Found,
  options: { readonly where: string; readonly cluster: Found; readonly ca: string | undefined },
): CredentialSource | undefined {
  const isSet = (name: string): boolean => typeof fields[name] === 'object' && fields[name] !== null;
  if (isSet('auth-provider')) throw authProviderError(options.where, fields['auth-provider'] as Fields);
  if (!isSet('exec')) return undefined;
  return CredentialPlugin.shared(execConfig(fields['exec'] as Fields, { ...options, dir, cluster: options.cluster.fields }));
}

/** What took the place of each provider that kubectl had. */
const successors: Readonly<Record<string, string>> = {
  gcp: 'install gke-gcloud-auth-plugin and run `gcloud container clusters get-credentials`, which writes an exec plugin',
  azure: 'run `kubelogin convert-kubeconfig`, which writes an exec plugin',
  oidc: 'use an exec plugin for OpenID Connect (`kubectl oidc-login` is one)',
};

function authProviderError(where: string, provider: Fields): IsthmusError {
  const name = stringField(provider, 'name') ?? '';
  const hint = (Object.hasOwn(successors, name) ? successors[name] : undefined) ?? 'use an exec plugin, a client certificate or a token';
  return new IsthmusError('KUBE_AUTH_PROVIDER', `${where} has the auth-provider ${JSON.stringify(name)}, which is not supported`, { hint });
}

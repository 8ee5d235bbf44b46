import path from 'node:path';

import { IsthmusError } from '../../core/index.ts';

/** The versions of client.authentication.k8s.io that plugins are spoken to in; client-go dropped v1alpha1, too. */
export const execApiVersions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'] as const;
export type ExecApiVersion = (typeof execApiVersions)[number];

/** Whether a plugin gets our standard input: not at all, when it is a terminal, or only with a terminal. */
export type InteractiveMode = 'Never' | 'IfAvailable' | 'Always';
const interactiveModes: readonly string[] = ['Never', 'IfAvailable', 'Always'] satisfies InteractiveMode[];

/** `users[].user.exec` of a kubeconfig. */
export interface ExecConfig {
  readonly apiVersion: ExecApiVersion;
  /** An absolute path, or a name without a slash, to be looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** Set in addition to our own environment, and before it. */
  readonly env: Readonly<Record<string, string>>;
  readonly interactiveMode: InteractiveMode;
  /** What the kubeconfig's author tells whoever does not have the command. */
  readonly installHint?: string;
  /** `spec.cluster` of what the plugin is told; absent unless `provideClusterInfo` is set. */
  readonly cluster?: ExecCluster;
}

/** The cluster as the kubeconfig describes it, under its names there; the authority always as data. */
export interface ExecCluster {
  readonly server: string;
  readonly 'tls-server-name'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  /** Base64 of PEM. */
  readonly 'certificate-authority-data'?: string;
  readonly 'proxy-url'?: string;
  readonly 'disable-compression'?: boolean;
  /** The cluster's extension `client.authentication.k8s.io/exec`, as it stands; null without one. */
  readonly config: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads `users[].user.exec`. `where` begins the errors' messages, `dir` is the folder of the kubeconfig, `cluster` is the context's cluster and `ca`
 * its authority, PEM. Throws KUBE_CONFIG for what kubectl refuses, too.
 */
export function execConfig(
  exec: Fields,
  options: { readonly where: string; readonly dir: string; readonly cluster: Fields; readonly ca?: string | undefined },
): ExecConfig {
  const invalid = (what: string, hint?: string): IsthmusError =>
    new IsthmusError('KUBE_CONFIG', `${options.where}: exec.${what}`, hint === undefined ? {} : { hint });
  const { apiVersion, command, installHint } = exec;
  if (typeof command !== 'string' || command === '') throw invalid('command is missing');
  const version = execApiVersions.find((known) => known === apiVersion);
  if (version === undefined) {
    const named = apiVersion === undefined || apiVersion === '' ? 'is missing' : `is ${JSON.stringify(apiVersion)}`;
    throw invalid(
      `apiVersion ${named}`,
      `use ${execApiVersions.join(' or ')}; an update of the plugin or of what wrote the kubeconfig helps`,
    );
  }
  const args = exec['args'] ?? [];
  if (!isListOf(args, (word) => typeof word === 'string')) throw invalid('args is not a list of strings');
  const variables = exec['env'] ?? [];
  if (!isListOf(variables, isVariable)) throw invalid('env is not a list of a name and a value each, both strings');
  return {
    apiVersion: version,
    command: command.includes('/') ? path.resolve(options.dir, command) : command,
    args,
    env: Object.fromEntries(variables.map(({ name, value = '' }) => [name, value])),
    interactiveMode: interactiveMode(exec['interactiveMode'], version, invalid),
    // What a kubeconfig says must not move the cursor of a terminal.
    ...(typeof installHint === 'string' && installHint !== '' && { installHint: installHint.trim().replaceAll('\x1b', '^[') }),
    ...(exec['provideClusterInfo'] === true && { cluster: execCluster(options.cluster, options.ca) }),
  };
}

interface Variable {
  readonly name: string;
  readonly value?: string;
}

function isVariable(entry: unknown): entry is Variable {
  if (typeof entry !== 'object' || entry === null) return false;
  const { name, value } = entry as Fields;
  return typeof name === 'string' && name !== '' && (value === undefined || typeof value === 'string');
}

function isListOf<T>(value: unknown, isEntry: (entry: unknown) => entry is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isEntry);
}

function interactiveMode(given: unknown, version: ExecApiVersion, invalid: (what: string, hint?: string) => IsthmusError): InteractiveMode {
  const modes = `one of ${interactiveModes.join(', ')}`;
  if (given === undefined || given === null || given === '') {
    // v1 has no default.
    if (version === 'client.authentication.k8s.io/v1') throw invalid('interactiveMode is missing', `v1 asks for it: ${modes}`);
    return 'IfAvailable';
  }
  if (typeof given !== 'string' || !interactiveModes.includes(given)) throw invalid(`interactiveMode is ${JSON.stringify(given)}`, modes);
  return given as InteractiveMode;
}

function execCluster(cluster: Fields, ca: string | undefined): ExecCluster {
  const text = (name: string): string | undefined => {
    const value = cluster[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const serverName = text('tls-server-name');
  const proxy = text('proxy-url');
  return {
    server: text('server') ?? '',
    ...(serverName !== undefined && { 'tls-server-name': serverName }),
    ...(cluster['insecure-skip-tls-verify'] === true && { 'insecure-skip-tls-verify': true }),
    ...(ca !== undefined && { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    ...(proxy !== undefined && { 'proxy-url': proxy }),
    ...(cluster['disable-compression'] === true && { 'disable-compression': true }),
    config: extension(cluster['extensions']),
  };
}

function extension(extensions: unknown): unknown {
  if (!Array.isArray(extensions)) return null;
  const entry = (extensions as unknown[]).find(
    (candidate): candidate is Fields =>
      typeof candidate === 'object' && candidate !== null && (candidate as Fields)['name'] === 'client.authentication.k8s.io/exec',
  );
  return entry?.['extension'] ?? null;
}

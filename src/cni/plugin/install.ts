import { createHash } from 'node:crypto';
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';

import { IsthmusError, type Logger } from '../../core/index.ts';
import type { CniConfig } from '../config.ts';

/** Type and file name of the plugin, upstream's. */
export const pluginName = 'istio-cni';

/** What the plugin needs beside its start script. */
const supportFolder = `${pluginName}.d`;

/** Of the folders in it that hold a copy of Node. */
const runtimePrefix = 'node-';

type InstallConfig = Pick<CniConfig, 'binDir' | 'netDir' | 'confName' | 'nodeBinary' | 'runDir' | 'excludeNamespaces' | 'pod'>;

/** A network configuration list of the CNI specification, as far as it is looked at. */
interface NetworkConfigList {
  readonly plugins: readonly { readonly type?: string; readonly [field: string]: unknown }[];
  readonly [field: string]: unknown;
}

/**
 * Puts the plugin into the node's folder of plugins: a start script, the plugin (its types stripped), and unless the node
 * has one itself a copy of this Node. Files are replaced whole, so that a runtime that starts a pod meanwhile finds either.
 */
export function installPlugin({ binDir, nodeBinary }: InstallConfig): void {
  const support = path.join(binDir, supportFolder);
  mkdirSync(support, { recursive: true });
  replaceFile(path.join(support, 'plugin.mjs'), pluginSource(), 0o644);
  const copy = nodeBinary === undefined ? copyNode(support) : undefined;
  const node = copy?.command ?? `'${(nodeBinary ?? '').replaceAll("'", `'\\''`)}'`;
  const script = `#!/bin/sh\n# CNI plugin ${pluginName}, installed by the node agent of Isthmus.\nhere=$(dirname "$0")\nexec ${node} "$here/${supportFolder}/plugin.mjs"\n`;
  replaceFile(path.join(binDir, pluginName), script, 0o755);
  removeOtherRuntimes(support, copy?.runtime);
}

/** Takes the plugin's files away again. */
export function uninstallPlugin({ binDir }: Pick<InstallConfig, 'binDir'>): void {
  rmSync(path.join(binDir, pluginName), { force: true });
  rmSync(path.join(binDir, supportFolder), { recursive: true, force: true });
}

/**
 * Chains the plugin last into the network configuration that the runtime uses: the first list of the folder (a single
 * plugin's file is made a list of). Returns the file's name, or undefined when there is no configuration yet: the
 * cluster's own network plugin has to come first. CNI_NETWORK_CONFIG when the file cannot be used.
 */
export function chainPlugin(config: InstallConfig): string | undefined {
  const file = networkConfigFile(config);
  if (file === undefined) return undefined;
  const list = readList(path.join(config.netDir, file));
  const entry = {
    type: pluginName,
    name: pluginName,
    cni_agent_run_dir: config.runDir,
    exclude_namespaces: [...config.excludeNamespaces],
    ...(config.pod === undefined ? {} : { pod_namespace: config.pod.namespace }),
  };
  const chained = { ...list, plugins: [...list.plugins.filter(({ type }) => type !== pluginName), entry] };
  const name = file.endsWith('.conf') ? `${file}list` : file;
  if (name === file && JSON.stringify(chained) === JSON.stringify(list)) return name;
  replaceFile(path.join(config.netDir, name), `${JSON.stringify(chained, null, 2)}\n`, 0o644);
  if (name !== file) rmSync(path.join(config.netDir, file), { force: true });
  return name;
}

/** Takes the plugin out of every network configuration of the folder. */
export function unchainPlugin({ netDir }: Pick<InstallConfig, 'netDir'>): void {
  for (const name of readdirSync(netDir)) {
    if (!name.endsWith('.conflist')) continue;
    const file = path.join(netDir, name);
    const list = readList(file);
    const plugins = list.plugins.filter(({ type }) => type !== pluginName);
    if (plugins.length !== list.plugins.length) replaceFile(file, `${JSON.stringify({ ...list, plugins }, null, 2)}\n`, 0o644);
  }
}

/**
 * Keeps the plugin chained while others write the folder (the network plugin's own agent does at its starts). `onState`
 * hears after each look whether it is. Runs until the signal is aborted.
 */
export function keepChained(
  config: InstallConfig,
  options: { log: Logger; onState: (chained: boolean) => void; signal: AbortSignal },
): void {
  const { log, onState, signal } = options;
  let last: string | undefined;
  const look = (): void => {
    try {
      const file = chainPlugin(config);
      onState(file !== undefined);
      const state = file ?? 'none';
      if (state !== last) log.info({ file, folder: config.netDir }, file === undefined ? 'no network configuration yet' : 'plugin chained');
      last = state;
    } catch (error) {
      onState(false);
      log.error({ error: error instanceof IsthmusError ? error.oneLine() : String(error) }, 'plugin not chained');
    }
  };
  mkdirSync(config.netDir, { recursive: true });
  // Watching begins before the first look: what is written in between is not missed.
  const watcher = watch(config.netDir, { signal });
  watcher.on('change', (_event, name) => {
    if (typeof name === 'string' && isConfigName(name)) look();
  });
  watcher.on('error', (error) => {
    log.error({ error: String(error) }, 'network configuration is not watched any more');
  });
  look();
}

const isConfigName = (name: string): boolean => name.endsWith('.conflist') || name.endsWith('.conf');

/** The file that the runtime takes: the first by name that holds a configuration. */
function networkConfigFile({ netDir, confName }: InstallConfig): string | undefined {
  let names: string[];
  try {
    names = readdirSync(netDir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (confName !== undefined) return names.includes(confName) ? confName : undefined;
  return names.filter(isConfigName).sort()[0];
}

function readList(file: string): NetworkConfigList {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new IsthmusError('CNI_NETWORK_CONFIG', `${file} cannot be read as a CNI network configuration`, { cause });
  }
  const content = parsed as { plugins?: unknown; type?: unknown; cniVersion?: unknown; name?: unknown };
  if (Array.isArray(content.plugins)) return parsed as NetworkConfigList;
  if (typeof content.type !== 'string')
    throw new IsthmusError('CNI_NETWORK_CONFIG', `${file} holds neither a plugin nor a list of plugins`);
  const { cniVersion, name, ...plugin } = content as { type: string; cniVersion?: unknown; name?: unknown };
  return { cniVersion: cniVersion ?? '0.3.1', name: name ?? 'k8s-pod-network', plugins: [plugin] };
}

/** This file's neighbour: TypeScript in a checkout, JavaScript in the image. */
function pluginSource(): string {
  const extension = path.extname(import.meta.filename);
  const source = readFileSync(path.join(import.meta.dirname, `plugin${extension}`), 'utf8');
  return extension === '.ts' ? stripTypeScriptTypes(source) : source;
}

/**
 * The running Node (150 MB) and the libraries that it runs with, its dynamic loader among them: nodes often lack one of them, or
 * have an older one. They are copied into a folder named by what they are, which appears whole, so that an upgrade never
 * mixes two sets. Returns the folder's name and the words that start Node in it.
 */
function copyNode(support: string): { readonly runtime: string; readonly command: string } {
  const node = process.execPath;
  const libraries = sharedLibraries();
  const hash = createHash('sha256').update(`${process.version} ${statSync(node).size}`);
  for (const file of libraries) hash.update(path.basename(file)).update(readFileSync(file));
  const runtime = `${runtimePrefix}${hash.digest('hex').slice(0, 16)}`;
  const target = path.join(support, runtime);
  if (!existsSync(target)) {
    const temporary = `${target}.tmp`;
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary);
    for (const file of [node, ...libraries]) {
      const copy = path.join(temporary, file === node ? 'node' : path.basename(file));
      copyFileSync(file, copy, constants.COPYFILE_FICLONE);
      chmodSync(copy, 0o755);
    }
    renameSync(temporary, target);
  }
  const folder = `"$here"/${supportFolder}/${runtime}`;
  const loader = libraries.map((file) => path.basename(file)).find((name) => name.startsWith('ld-'));
  return { runtime, command: loader === undefined ? `${folder}/node` : `${folder}/${loader} --library-path ${folder} ${folder}/node` };
}

/** Copies of Node that the start script does not name any more. */
function removeOtherRuntimes(support: string, runtime: string | undefined): void {
  for (const name of readdirSync(support)) {
    if (name.startsWith(runtimePrefix) && name !== runtime) rmSync(path.join(support, name), { recursive: true, force: true });
  }
}

/** Of process.report, what its types leave out. */
interface Report {
  /** Without this the report asks for the host names of every peer. */
  excludeNetwork: boolean;
  getReport(): { readonly sharedObjects: readonly string[] };
}

/** The files of the shared libraries in this process. The kernel's vDSO is none; addons are not Node's. */
function sharedLibraries(): readonly string[] {
  const report = process.report as unknown as Report;
  const { excludeNetwork } = report;
  report.excludeNetwork = true;
  const { sharedObjects } = report.getReport();
  report.excludeNetwork = excludeNetwork;
  return sharedObjects.filter((file) => path.isAbsolute(file) && /\.so(?:\.|$)/.test(path.basename(file)));
}

function replaceFile(file: string, content: string, mode: number): void {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.isthmus-tmp`);
  writeFileSync(temporary, content, { mode });
  chmodSync(temporary, mode);
  renameSync(temporary, file);
}

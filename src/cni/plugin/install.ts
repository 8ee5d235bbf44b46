import {
  chmodSync,
  constants,
  copyFileSync,
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
  const source = readFileSync(new URL('./plugin.ts', import.meta.url), 'utf8');
  replaceFile(path.join(support, 'plugin.mjs'), stripTypeScriptTypes(source), 0o644);
  if (nodeBinary === undefined) copyNode(path.join(support, 'node'));
  const node = nodeBinary === undefined ? `"$here/${supportFolder}/node"` : `'${nodeBinary.replaceAll("'", `'\\''`)}'`;
  const script = `#!/bin/sh\n# CNI plugin ${pluginName}, installed by the node agent of Isthmus.\nhere=$(dirname "$0")\nexec ${node} "$here/${supportFolder}/plugin.mjs"\n`;
  replaceFile(path.join(binDir, pluginName), script, 0o755);
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

/** The running Node, copied once: 100 MB. */
function copyNode(target: string): void {
  const { size } = statSync(process.execPath);
  if (statSync(target, { throwIfNoEntry: false })?.size === size) return;
  const temporary = `${target}.tmp`;
  copyFileSync(process.execPath, temporary, constants.COPYFILE_FICLONE);
  chmodSync(temporary, 0o755);
  renameSync(temporary, target);
}

function replaceFile(file: string, content: string, mode: number): void {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.isthmus-tmp`);
  writeFileSync(temporary, content, { mode });
  chmodSync(temporary, mode);
  renameSync(temporary, file);
}

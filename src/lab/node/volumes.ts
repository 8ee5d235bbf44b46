import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import type { IContainer, IVolume } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';
import { describeError, IsthmusError, type Logger } from '../../core/index.ts';
import { writeAtomically, type ProjectedFile } from './atomic-folder.ts';
import type { ContainerMount } from './container-script.ts';
import { podField, resourceField, type PodFacts } from './pod-fields.ts';
import type { ReferencedKind, ReferencedObjects } from './referenced-objects.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';

export interface VolumesOptions {
  /** The pod's own folder on the node. */
  readonly folder: string;
  readonly objects: ReferencedObjects;
  readonly tokens: ServiceAccountTokens;
  readonly facts: () => PodFacts;
  readonly node: { readonly cpu: number; readonly memory: number };
  readonly log: Logger;
  /** A Secret or ConfigMap that the pod refers to has changed. */
  readonly onSourceChange: () => void;
}

/**
 * The volumes of one pod, as folders on the node. Those that come from the API server follow it: a changed Secret, ConfigMap,
 * label or an ageing token is written anew while the pod runs.
 */
export class Volumes {
  readonly #options: VolumesOptions;
  #pod: Pod;
  /** What was written last, to leave alone what did not change. */
  readonly #written = new Map<string, string>();
  #refreshTimer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #prepared = false;

  constructor(pod: Pod, options: VolumesOptions) {
    this.#pod = pod;
    this.#options = options;
  }

  /** Makes all volumes. Throws LAB_VOLUME when one cannot be made now; it may be possible later. */
  async prepare(): Promise<void> {
    const { objects, onSourceChange } = this.#options;
    objects.listen(this.#uid, () => {
      onSourceChange();
      if (this.#prepared) void this.refresh(this.#pod);
    });
    await this.#enqueue(async () => {
      for (const volume of this.#pod.spec?.volumes ?? []) await this.#make(volume);
    });
    this.#prepared = true;
  }

  /** Brings the volumes up to date with the pod and with what it refers to. What fails is logged, and stays as it was. */
  async refresh(pod: Pod): Promise<void> {
    this.#pod = pod;
    await this.#enqueue(async () => {
      for (const volume of pod.spec?.volumes ?? []) {
        if (volume.hostPath !== undefined || volume.emptyDir !== undefined) continue;
        await this.#make(volume).catch((error: unknown) => {
          this.#options.log.warn({ pod: pod.metadata.name, volume: volume.name, error: describeError(error) }, 'volume not refreshed');
        });
      }
    });
  }

  /** The mounts of a container. Throws LAB_VOLUME for a volume or a sub-path that does not exist. */
  mounts(container: IContainer, env: Readonly<Record<string, string>>): readonly ContainerMount[] {
    return (container.volumeMounts ?? []).map((mount) => {
      const volume = this.#pod.spec?.volumes?.find((candidate) => candidate.name === mount.name);
      if (volume === undefined) throw new IsthmusError('LAB_VOLUME', `the pod has no volume "${mount.name}"`);
      const subPath =
        mount.subPathExpr === undefined
          ? (mount.subPath ?? '')
          : mount.subPathExpr.replace(/\$\(([^)]*)\)/g, (_, name: string) => env[name] ?? '');
      const base = this.#folderOf(volume);
      const source = path.join(base, subPath);
      if (source !== base && !source.startsWith(`${base}/`))
        throw new IsthmusError('LAB_VOLUME', `sub-path "${subPath}" leaves its volume`);
      if (subPath !== '' && !existsSync(source)) mkdirSync(source, { recursive: true, mode: 0o755 });
      return {
        source,
        target: path.resolve('/', mount.mountPath),
        kind: statSync(source).isDirectory() ? 'folder' : 'file',
        readOnly: mount.readOnly === true || isProjected(volume),
        propagate: mount.mountPropagation === 'HostToContainer' || mount.mountPropagation === 'Bidirectional',
      };
    });
  }

  close(): void {
    clearTimeout(this.#refreshTimer);
    this.#options.objects.release(this.#uid);
  }

  get #uid(): string {
    return this.#pod.metadata.uid ?? '';
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  #folderOf(volume: IVolume): string {
    if (volume.hostPath !== undefined) return path.resolve('/', volume.hostPath.path);
    return path.join(this.#options.folder, 'volumes', kindOf(volume), volume.name);
  }

  async #make(volume: IVolume): Promise<void> {
    const folder = this.#folderOf(volume);
    if (volume.hostPath !== undefined) {
      makeHostPath(folder, volume.hostPath.type ?? '');
      return;
    }
    if (volume.emptyDir !== undefined) {
      mkdirSync(folder, { recursive: true });
      chmodSync(folder, 0o777);
      return;
    }
    const files = await this.#files(volume);
    const state = JSON.stringify(files.map((file) => [file.path, file.mode, file.content.toString('base64')]));
    if (this.#written.get(volume.name) === state) return;
    writeAtomically(folder, files);
    this.#written.set(volume.name, state);
  }

  async #files(volume: IVolume): Promise<readonly ProjectedFile[]> {
    const { secret, configMap, downwardAPI, projected } = volume;
    if (secret !== undefined) {
      return await this.#fromObject('secret', secret.secretName ?? '', secret, secret.defaultMode);
    }
    if (configMap !== undefined) return await this.#fromObject('configMap', configMap.name ?? '', configMap, configMap.defaultMode);
    if (downwardAPI !== undefined) return this.#fromPod(downwardAPI.items ?? [], downwardAPI.defaultMode);
    if (projected === undefined) throw new IsthmusError('LAB_VOLUME', `volume "${volume.name}" is of a kind that the lab does not have`);
    const files: ProjectedFile[] = [];
    for (const source of projected.sources ?? []) {
      const mode = projected.defaultMode;
      if (source.secret !== undefined) files.push(...(await this.#fromObject('secret', source.secret.name ?? '', source.secret, mode)));
      else if (source.configMap !== undefined)
        files.push(...(await this.#fromObject('configMap', source.configMap.name ?? '', source.configMap, mode)));
      else if (source.downwardAPI !== undefined) files.push(...this.#fromPod(source.downwardAPI.items ?? [], mode));
      else if (source.serviceAccountToken !== undefined) {
        const { audience, expirationSeconds, path: name } = source.serviceAccountToken;
        const { token, refreshInMs } = await this.#options.tokens.get(this.#pod, { audience, expirationSeconds });
        this.#refreshIn(refreshInMs);
        // As the kubelet: group and others may read it only if the pod says nothing about users.
        files.push({ path: name, content: Buffer.from(token), mode: mode ?? 0o644 });
      } else throw new IsthmusError('LAB_VOLUME', `volume "${volume.name}" has a source of a kind that the lab does not have`);
    }
    return files;
  }

  async #fromObject(
    kind: ReferencedKind,
    name: string,
    { items, optional = false }: ObjectSource,
    defaultMode: number | undefined,
  ): Promise<readonly ProjectedFile[]> {
    const namespace = this.#pod.metadata.namespace ?? 'default';
    const data = await this.#options.objects.data(kind, namespace, name, this.#uid);
    const mode = defaultMode ?? 0o644;
    if (data === undefined) {
      if (optional) return [];
      throw new IsthmusError('LAB_VOLUME', `${kind.toLowerCase()} "${name}" not found`);
    }
    if (items === undefined) return Object.entries(data).map(([key, content]) => ({ path: key, content, mode }));
    return items.flatMap((item) => {
      const content = data[item.key];
      if (content !== undefined) return [{ path: item.path, content, mode: item.mode ?? mode }];
      if (optional) return [];
      throw new IsthmusError('LAB_VOLUME', `${kind.toLowerCase()} "${name}" has no key "${item.key}"`);
    });
  }

  #fromPod(items: readonly DownwardItem[], defaultMode: number | undefined): readonly ProjectedFile[] {
    const { facts, node } = this.#options;
    return items.map(({ path: name, fieldRef, resourceFieldRef, mode }) => {
      let value = '';
      if (fieldRef !== undefined) value = podField(this.#pod, fieldRef.fieldPath, facts());
      else if (resourceFieldRef !== undefined) {
        const container = this.#pod.spec?.containers.find((candidate) => candidate.name === resourceFieldRef.containerName);
        value = resourceField(container?.resources, resourceFieldRef.resource, resourceFieldRef.divisor, node);
      }
      return { path: name, content: Buffer.from(value), mode: mode ?? defaultMode ?? 0o644 };
    });
  }

  #refreshIn(ms: number): void {
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = setTimeout(() => void this.refresh(this.#pod), ms);
  }
}

interface ObjectSource {
  readonly items?: readonly { readonly key: string; readonly path: string; readonly mode?: number }[];
  readonly optional?: boolean;
}

interface DownwardItem {
  readonly path: string;
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly containerName?: string; readonly resource: string; readonly divisor?: string | number };
  readonly mode?: number;
}

/** The folder's name, as the kubelet's: `kubernetes.io~` and the volume plugin. */
function kindOf(volume: IVolume): string {
  const kinds = {
    emptyDir: 'empty-dir',
    secret: 'secret',
    configMap: 'configmap',
    downwardAPI: 'downward-api',
    projected: 'projected',
  } as const;
  const kind = (Object.keys(kinds) as (keyof typeof kinds)[]).find((name) => volume[name] !== undefined);
  if (kind === undefined) throw new IsthmusError('LAB_VOLUME', `volume "${volume.name}" is of a kind that the lab does not have`);
  return `kubernetes.io~${kinds[kind]}`;
}

function isProjected(volume: IVolume): boolean {
  return volume.hostPath === undefined && volume.emptyDir === undefined;
}

function makeHostPath(target: string, type: string): void {
  if (type === 'DirectoryOrCreate') mkdirSync(target, { recursive: true, mode: 0o755 });
  const stat = statSync(target, { throwIfNoEntry: false });
  if (stat === undefined) throw new IsthmusError('LAB_VOLUME', `hostPath ${target} does not exist on the node`);
  const wrong =
    (type === 'Directory' && !stat.isDirectory()) || (type === 'File' && !stat.isFile()) || (type === 'Socket' && !stat.isSocket());
  if (wrong) throw new IsthmusError('LAB_VOLUME', `hostPath ${target} is no ${type}`);
}

/** The amount of CPUs and of memory (bytes) of this machine. */
export function machineSize(): { readonly cpu: number; readonly memory: number } {
  const kilobytes = /^MemTotal:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0';
  const cpus = readFileSync('/proc/cpuinfo', 'utf8').match(/^processor\s*:/gm)?.length ?? 1;
  return { cpu: cpus, memory: Number(kilobytes) * 1024 };
}

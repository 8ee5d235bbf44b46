import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { aborted, describeError, IsthmusError, sleep, type Logger } from '../../core/index.ts';
import { isConflict, type EventRecorder, type KubeClient } from '../../kube/index.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { ContainerRuntime, type PodContext } from './container-runtime.ts';
import { containerEnv } from './env.ts';
import { podEtcFiles, podHostname } from './pod-network-files.ts';
import { podStatus, time, type ContainerKind, type Termination } from './pod-status.ts';
import type { ReferencedObjects } from './referenced-objects.ts';
import { createSandbox, podAddresses, readSandbox, removeSandbox, type Sandbox } from './sandbox.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';
import { StatusWriter } from './status-writer.ts';
import { Volumes } from './volumes.ts';
import { Wake } from './wake.ts';

/** What all pods of a node share. */
export interface NodeContext {
  readonly plan: ClusterPlan;
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly objects: ReferencedObjects;
  readonly tokens: ServiceAccountTokens;
  readonly machine: { readonly cpu: number; readonly memory: number };
  readonly log: Logger;
}

export const podsFolder = '/var/lib/kubelet/pods';
export const podLogsFolder = '/var/log/pods';

/**
 * One pod on this node, from its binding until nothing is left of it: volumes, network, init containers in order, then the
 * others; its status; its end. An agent that takes over finds what runs, and goes on.
 */
export class PodWorker {
  /** Resolves when nothing of the pod is left on the node. */
  readonly done: Promise<void>;
  readonly #node: NodeContext;
  readonly #folder: string;
  readonly #logFolder: string;
  readonly #containers: readonly ContainerRuntime[];
  readonly #volumes: Volumes;
  readonly #status: StatusWriter;
  readonly #startTime: string;
  readonly #terminating = new AbortController();
  /** Aborted when the grace period is over. */
  readonly #killed = new AbortController();
  readonly #detached: AbortSignal;
  #graceTimer: NodeJS.Timeout | undefined;
  readonly #sources = new Wake();
  #pod: Pod;
  #sandbox: Sandbox | undefined;

  /** `detached` is aborted when the node agent stops: the worker ends, the pod stays. */
  constructor(pod: Pod, node: NodeContext, detached: AbortSignal) {
    const { namespace = 'default', name, uid = '' } = pod.metadata;
    this.#pod = pod;
    this.#node = node;
    this.#detached = detached;
    this.#folder = path.join(podsFolder, uid);
    this.#logFolder = path.join(podLogsFolder, `${namespace}_${name}_${uid}`);
    this.#startTime = pod.status?.startTime ?? time(Date.now());
    mkdirSync(this.#folder, { recursive: true, mode: 0o750 });
    this.#sandbox = readSandbox(this.#sandboxFile);
    this.#status = new StatusWriter(node.client, node.log, () => this.#computeStatus());
    this.#volumes = new Volumes(pod, {
      folder: this.#folder,
      objects: node.objects,
      tokens: node.tokens,
      facts: () => this.#facts(),
      node: node.machine,
      log: node.log,
      onSourceChange: () => this.#sources.raise(),
    });
    const context = this.#containerContext();
    const make = (kind: ContainerKind) => (spec: NonNullable<Pod['spec']>['containers'][number]) =>
      new ContainerRuntime(spec, kind, context);
    const { initContainers = [], containers = [] } = pod.spec ?? {};
    this.#containers = [
      ...initContainers.map((spec) => make(spec.restartPolicy === 'Always' ? 'sidecar' : 'init')(spec)),
      ...containers.map(make('main')),
    ];
    this.done = this.#live();
    this.update(pod);
  }

  get pod(): Pod {
    return this.#pod;
  }

  container(name: string): ContainerRuntime | undefined {
    return this.#containers.find((container) => container.spec.name === name);
  }

  /** A newer state of the pod's object. */
  update(pod: Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    if (pod.metadata.labels !== before.metadata.labels || pod.metadata.annotations !== before.metadata.annotations) {
      if (this.#sandbox !== undefined || pod.spec?.hostNetwork === true) void this.#volumes.refresh(pod);
    }
    if (pod.metadata.deletionTimestamp !== undefined) this.terminate(pod.metadata.deletionGracePeriodSeconds ?? 30);
    else if ((pod.spec?.readinessGates ?? []).length > 0) this.#status.changed();
  }

  /** Ends the pod; again with fewer seconds ends it sooner. */
  terminate(graceSeconds: number): void {
    clearTimeout(this.#graceTimer);
    if (graceSeconds <= 0) this.#killed.abort();
    else this.#graceTimer = setTimeout(() => this.#killed.abort(), graceSeconds * 1000);
    this.#terminating.abort(new Error('the pod is terminating'));
  }

  get #sandboxFile(): string {
    return path.join(this.#folder, 'sandbox.json');
  }

  async #live(): Promise<void> {
    // Lets the constructor end first.
    await Promise.resolve();
    const working = AbortSignal.any([this.#terminating.signal, this.#detached]);
    this.#status.changed();
    const work = this.#work(working).catch((error: unknown) => {
      if (!working.aborted) this.#node.log.error({ pod: this.#pod.metadata.name, error: describeError(error) }, 'pod failed');
    });
    // Containers that have all ended leave a pod that waits to be deleted.
    await aborted(working);
    if (this.#detached.aborted) {
      this.#volumes.close();
      return;
    }
    await this.#end(work);
  }

  async #work(signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    const sidecars: Promise<unknown>[] = [];
    for (const container of this.#containers) {
      if (container.kind === 'main') continue;
      const run = container.run(signal);
      if (container.kind === 'sidecar') {
        sidecars.push(run);
        await Promise.race([container.startedOnce, run]);
      } else if (!succeeded(await run)) return;
      signal.throwIfAborted();
    }
    await Promise.all(this.#containers.filter(({ kind }) => kind === 'main').map((container) => container.run(signal)));
    // The sidecars of a pod that has done its work are not needed any more.
    if (!signal.aborted) await Promise.race([this.#stopSidecars(), Promise.all(sidecars)]);
  }

  /** Volumes and network, again and again until they are there. */
  async #prepare(signal: AbortSignal): Promise<void> {
    await this.#retry('FailedMount', () => this.#volumes.prepare(), signal);
    if (this.#sandbox !== undefined || this.#pod.spec?.hostNetwork === true) return;
    await this.#retry(
      'FailedCreatePodSandBox',
      async () => {
        await removeSandbox(this.#sandboxFile).catch(() => undefined);
        this.#sandbox = await createSandbox(this.#pod, this.#sandboxFile, signal);
      },
      signal,
    );
    this.#status.changed();
  }

  async #retry(reason: string, attempt: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let wait = 100; ; wait = Math.min(wait * 2, 10_000)) {
      try {
        await attempt();
        return;
      } catch (error) {
        signal.throwIfAborted();
        const why = error instanceof IsthmusError ? error.message : describeError(error);
        // What is missing at first often comes within a second: no Event for that.
        if (wait >= 800)
          this.#event(
            'Warning',
            reason,
            reason === 'FailedMount' ? `MountVolume.SetUp failed: ${why}` : `Failed to create pod sandbox: ${why}`,
          );
        this.#node.log.warn({ pod: this.#pod.metadata.name, reason, error: why, retryMs: wait }, 'pod not prepared');
        await this.#sources.wait(wait, signal);
      }
    }
  }

  /** `work` ends once all containers have. */
  async #end(work: Promise<void>): Promise<void> {
    const { log, client, objects, tokens } = this.#node;
    const { name, namespace, uid = '' } = this.#pod.metadata;
    try {
      const grace = this.#killed.signal.aborted ? 0 : (this.#pod.metadata.deletionGracePeriodSeconds ?? 30);
      const killed = this.#killed.signal;
      await Promise.all(this.#containers.filter(({ kind }) => kind === 'main').map((container) => container.stop(grace, killed)));
      await this.#stopSidecars();
      await Promise.all(this.#containers.filter(({ kind }) => kind === 'init').map((container) => container.stop(0, killed)));
      await work;
      await this.#status.flush();
      await removeSandbox(this.#sandboxFile).catch((error: unknown) => {
        log.warn({ pod: name, error: describeError(error) }, 'pod network not removed cleanly');
      });
    } finally {
      clearTimeout(this.#graceTimer);
      this.#status.close();
      this.#volumes.close();
      objects.release(uid);
      tokens.release(uid);
      rmSync(this.#folder, { recursive: true, force: true });
      rmSync(this.#logFolder, { recursive: true, force: true });
    }
    if (this.#pod.metadata.deletionTimestamp === undefined) return;
    for (let wait = 200; !this.#detached.aborted; wait = Math.min(wait * 2, 5_000)) {
      try {
        await client.delete(resources.pods, { name, namespace }, { gracePeriodSeconds: 0, uid });
        return;
      } catch (error) {
        // Another pod has its name by now: ours is gone.
        if (isConflict(error)) return;
        log.warn({ pod: name, error: describeError(error), retryMs: wait }, 'ended pod not deleted');
        await sleep(wait, this.#detached).catch(() => undefined);
      }
    }
  }

  async #stopSidecars(): Promise<void> {
    const grace = this.#killed.signal.aborted ? 0 : (this.#pod.metadata.deletionGracePeriodSeconds ?? 30);
    for (const container of this.#containers.filter(({ kind }) => kind === 'sidecar').reverse())
      await container.stop(grace, this.#killed.signal);
  }

  #computeStatus(): { readonly pod: Pod; readonly status: ReturnType<typeof podStatus> } {
    const { plan } = this.#node;
    const podIps =
      this.#pod.spec?.hostNetwork === true ? [plan.nodeAddress] : this.#sandbox === undefined ? [] : podAddresses(this.#sandbox);
    return {
      pod: this.#pod,
      status: podStatus({
        pod: this.#pod,
        containers: this.#containers.map((container) => container.view),
        podIps,
        hostIp: plan.nodeAddress,
        sandboxReady: podIps.length > 0,
        startTime: this.#startTime,
        now: time(Date.now()),
      }),
    };
  }

  #facts(): { readonly podIp: string; readonly hostIp: string } {
    const { nodeAddress } = this.#node.plan;
    const podIp =
      this.#pod.spec?.hostNetwork === true ? nodeAddress : this.#sandbox === undefined ? '' : (podAddresses(this.#sandbox)[0] ?? '');
    return { podIp, hostIp: nodeAddress };
  }

  #containerContext(): PodContext {
    const { plan, objects, machine, log } = this.#node;
    return {
      pod: () => this.#pod,
      terminating: () => this.#terminating.signal.aborted,
      folder: this.#folder,
      logFolder: this.#logFolder,
      hostname: podHostname(this.#pod, plan),
      podIp: () => this.#facts().podIp,
      netns: () => this.#sandbox?.attachment.netns,
      etc: () => podEtcFiles(this.#pod, plan, this.#facts().podIp),
      env: (container, image) =>
        containerEnv({
          pod: this.#pod,
          container,
          image,
          facts: this.#facts(),
          objects,
          apiServiceAddress: plan.apiServiceAddress,
          node: machine,
        }),
      mounts: (container, env) => this.#volumes.mounts(container, env),
      event: (type, reason, message) => this.#event(type, reason, message),
      changed: () => this.#status.changed(),
      sourcesChanged: this.#sources,
      log: log.child({ pod: this.#pod.metadata.name }),
    };
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    void this.#node.events.record({ about: this.#pod, type, reason, message });
  }
}

function succeeded(ended: Termination | undefined): boolean {
  return ended?.exitCode === 0;
}

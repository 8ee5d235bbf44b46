import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';

import type { IContainer, IContainerStatus, ILifecycleHandler } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';
import { describeError, IsthmusError, sleep, type Logger } from '../../core/index.ts';
import { NetworkNamespace } from '../../linux/index.ts';
import { findImage, imageNames, type Image } from '../images/table.ts';
import { ContainerHistory } from './container-history.ts';
import { containerFiles } from './container-script.ts';
import { Container, type ContainerExit } from './container.ts';
import { expand } from './env.ts';
import { runHook } from './lifecycle-hook.ts';
import { LogFile, readOldLog, type LogReadOptions } from './log-file.ts';
import type { ContainerKind, ContainerView, RunState, Termination } from './pod-status.ts';
import { probeContainer } from './prober.ts';
import { setprivOptions } from './security.ts';
import type { Wake } from './wake.ts';
import type { ContainerMount } from './container-script.ts';

/** What a container needs from its pod. */
export interface PodContext {
  readonly pod: () => Pod;
  /** Whether the pod is ending, and no container may start any more. */
  readonly terminating: () => boolean;
  /** The pod's folder on the node. */
  readonly folder: string;
  readonly logFolder: string;
  readonly hostname: string;
  readonly podIp: () => string;
  /** Path of the pod's network namespace; undefined for the node's own. */
  readonly netns: () => string | undefined;
  readonly etc: () => Readonly<Record<string, string>>;
  readonly env: (container: IContainer, image: Image) => Promise<Readonly<Record<string, string>>>;
  readonly mounts: (container: IContainer, env: Readonly<Record<string, string>>) => readonly ContainerMount[];
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
  /** Something that the pod's status shows has changed. */
  readonly changed: () => void;
  /** Raised when a Secret or ConfigMap that the pod refers to has changed. */
  readonly sourcesChanged: Wake;
  readonly log: Logger;
}

/** The kubelet's waits before a container that keeps ending is started again: none, 10 s, 20 s, … 5 min. */
const crashBackoff = { first: 10_000, longest: 300_000 } as const;

/** A run of this length makes the waits begin anew, milliseconds. */
const steadyRun = 600_000;

/** One container of a pod through all its runs. What it knows is also in its folder, for the next node agent. */
export class ContainerRuntime {
  readonly spec: IContainer;
  readonly kind: ContainerKind;
  readonly #context: PodContext;
  readonly #history: ContainerHistory;
  #state: RunState = { is: 'waiting', reason: 'ContainerCreating' };
  #ready = false;
  #started = false;
  #image: Image | undefined;
  #container: Container | undefined;
  #log: LogFile | undefined;
  #startedOnce = Promise.withResolvers<undefined>();

  constructor(spec: IContainer, kind: ContainerKind, context: PodContext) {
    this.spec = spec;
    this.kind = kind;
    this.#context = context;
    this.#history = new ContainerHistory(path.join(context.folder, 'containers', spec.name), path.join(context.logFolder, spec.name));
    if (kind !== 'init' && (context.pod().spec?.initContainers ?? []).length > 0)
      this.#state = { is: 'waiting', reason: 'PodInitializing' };
    this.#image = findImage(spec.image ?? '');
    if (this.#history.restored) this.#restore();
  }

  get view(): ContainerView {
    const { attempt, restarts, last } = this.#history.runs;
    return {
      spec: this.spec,
      kind: this.kind,
      state: this.#state,
      last,
      restarts,
      // An init container that did its work counts as ready, as in the kubelet.
      ready: this.kind === 'init' ? this.#state.is === 'terminated' && this.#state.by.exitCode === 0 : this.#ready,
      started: this.#started,
      image: this.#image?.name ?? this.spec.image ?? '',
      imageId: this.#state.is === 'waiting' && attempt === 0 ? '' : (this.#image?.id ?? ''),
      containerId: attempt === 0 ? '' : this.#containerId(),
    };
  }

  /** The running container, if there is one. */
  get running(): Container | undefined {
    return this.#container?.running === true ? this.#container : undefined;
  }

  /** Resolves once the startup probe of a run has succeeded. */
  get startedOnce(): Promise<undefined> {
    return this.#startedOnce.promise;
  }

  /**
   * Runs the container until it needs no restart, or until `signal` is aborted; a run that is under way then goes on until
   * {@link stop}. Resolves with how it ended, or undefined.
   */
  async run(signal: AbortSignal): Promise<Termination | undefined> {
    const stopped = (): boolean => signal.aborted;
    try {
      while (!stopped()) {
        const { final } = this.#history.runs;
        if (final !== undefined) return final;
        if (this.#container === undefined) await this.#startWithRetries(signal);
        const container = this.#container;
        if (container === undefined) return undefined;
        // It was being started when the pod's end began, which found nothing to stop.
        if (this.#context.terminating()) container.signal('SIGKILL');
        const ended = await this.#observe(container, signal);
        if (stopped()) return ended;
        if (!this.#restarts(ended)) {
          this.#history.change({ final: ended });
          this.#context.changed();
          return ended;
        }
        await this.#waitBeforeRestart(ended, signal);
      }
    } catch (error) {
      if (!stopped()) throw error;
    }
    return undefined;
  }

  /** Ends a run that is under way: preStop, SIGTERM, and SIGKILL once `killed` is aborted. Resolves when it has ended. */
  async stop(graceSeconds: number, killed: AbortSignal): Promise<void> {
    const container = this.running;
    if (container === undefined) return;
    this.#context.event('Normal', 'Killing', `Stopping container ${this.spec.name}`);
    const kill = (): void => container.signal('SIGKILL');
    if (killed.aborted || graceSeconds === 0) kill();
    else {
      killed.addEventListener('abort', kill, { once: true });
      const preStop = this.spec.lifecycle?.preStop;
      if (preStop !== undefined) await this.#hook('PreStop', preStop, container, killed);
      container.signal('SIGTERM');
    }
    await container.exited;
    killed.removeEventListener('abort', kill);
  }

  /** The log of this run, or of the one before. Undefined when there is none. */
  async *logs(options: LogReadOptions & { readonly previous?: boolean }): AsyncGenerator<string, void, void> {
    if (options.previous === true) yield readOldLog(this.#history.logFile(true), options);
    else if (this.#log !== undefined) yield* this.#log.read(options);
    else if (this.#history.runs.attempt > 0) yield readOldLog(this.#history.logFile(), options);
  }

  /** Whether there is a log to read. */
  hasLog(previous: boolean): boolean {
    return this.#history.runs.attempt > 0 && existsSync(this.#history.logFile(previous));
  }

  #restarts({ exitCode }: Termination): boolean {
    const policy = this.#context.pod().spec?.restartPolicy ?? 'Always';
    if (this.kind === 'sidecar') return true;
    if (this.kind === 'init') return exitCode !== 0 && policy !== 'Never';
    return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
  }

  async #startWithRetries(signal: AbortSignal): Promise<void> {
    for (let wait = 500; ; wait = Math.min(wait * 2, 10_000)) {
      try {
        if (await this.#start(signal)) return;
        // An image that is not there: the kubelet's waits for pulling.
        await sleep(Math.max(wait, 10_000), signal);
      } catch (error) {
        signal.throwIfAborted();
        const code = error instanceof IsthmusError ? error.code : undefined;
        const reason =
          code === 'LAB_POD_CONFIG' || code === 'LAB_VOLUME' || code === 'LAB_POD_INVALID'
            ? 'CreateContainerConfigError'
            : 'CreateContainerError';
        const message = error instanceof IsthmusError ? error.message : describeError(error);
        this.#set({ is: 'waiting', reason, message });
        this.#context.event('Warning', 'Failed', `Error: ${message}`);
        this.#context.log.warn({ container: this.spec.name, error: describeError(error) }, 'container not started');
        await this.#context.sourcesChanged.wait(wait, signal);
      }
    }
  }

  async #start(signal: AbortSignal): Promise<boolean> {
    const { spec } = this;
    const { event, pod } = this.#context;
    const image = findImage(spec.image ?? '');
    if (image === undefined) {
      this.#imageMissing();
      return false;
    }
    this.#image = image;
    event('Normal', 'Pulled', `Container image "${spec.image ?? ''}" already present on machine`);
    const env = await this.#context.env(spec, image);
    const mounts = this.#context.mounts(spec, env);
    signal.throwIfAborted();
    this.#history.begin();
    const log = new LogFile(this.#history.logFile());
    const netns = this.#context.netns();
    using namespace = netns === undefined ? undefined : NetworkNamespace.open(netns);
    const command = [...(spec.command ?? image.entrypoint), ...(spec.args ?? (spec.command === undefined ? image.arguments : []))];
    event('Normal', 'Created', `Created container: ${spec.name}`);
    this.#container = await Container.start(
      {
        folder: this.#history.runFolder,
        hostname: this.#context.hostname,
        etc: this.#context.etc(),
        mounts,
        checkout: image.checkout,
        readOnlyRoot: spec.securityContext?.readOnlyRootFilesystem === true,
        privileged: spec.securityContext?.privileged === true,
        command: command.map((word) => expand(word, env)),
        env,
        workingDir: spec.workingDir ?? image.workingDir,
        setpriv: setprivOptions(pod().spec ?? { containers: [] }, spec),
      },
      namespace,
      log,
    );
    this.#log = log;
    event('Normal', 'Started', `Started container ${spec.name}`);
    const { postStart } = spec.lifecycle ?? {};
    if (postStart !== undefined) await this.#hook('PostStart', postStart, this.#container, signal);
    return true;
  }

  #imageMissing(): void {
    const { event } = this.#context;
    const image = this.spec.image ?? '';
    const message = `failed to pull image "${image}": the lab has only ${imageNames().join(', ')}`;
    if (this.#state.is !== 'waiting' || this.#state.reason !== 'ErrImagePull') {
      event('Normal', 'Pulling', `Pulling image "${image}"`);
      event('Warning', 'Failed', `Failed to pull image "${image}": ${message}`);
      event('Warning', 'Failed', 'Error: ErrImagePull');
      this.#set({ is: 'waiting', reason: 'ErrImagePull', message });
      // The kubelet says it in these two steps.
      setImmediate(() =>
        this.#set({ is: 'waiting', reason: 'ImagePullBackOff', message: `Back-off pulling image "${image}": ErrImagePull: ${message}` }),
      );
    }
    event('Normal', 'BackOff', `Back-off pulling image "${image}"`);
  }

  /** Follows a run to its end. */
  async #observe(container: Container, signal: AbortSignal): Promise<Termination> {
    const over = new AbortController();
    if (container.running) {
      this.#set({ is: 'running', startedAt: container.record.startedAt });
      void this.#probe(container, AbortSignal.any([over.signal, signal]));
    }
    const exit = await container.exited;
    over.abort();
    return this.#ended(container, exit);
  }

  async #probe(container: Container, signal: AbortSignal): Promise<void> {
    const { event, podIp, changed, log } = this.#context;
    const target = { record: container.record, container: this.spec, podIp: podIp() };
    try {
      await probeContainer(
        {
          ...target,
          onStarted: () => {
            this.#started = true;
            this.#startedOnce.resolve(undefined);
            changed();
          },
          onReady: (ready) => {
            this.#ready = ready;
            changed();
          },
          onUnhealthy: (which, message) => event('Warning', 'Unhealthy', `${which} probe failed: ${message}`),
          onFailed: (which) => {
            event('Normal', 'Killing', `Container ${this.spec.name} failed ${which.toLowerCase()} probe, will be restarted`);
            void this.#replace(container);
          },
        },
        signal,
      );
    } catch (error) {
      log.error({ container: this.spec.name, error: describeError(error) }, 'probing ended');
    }
  }

  /** Ends a run that a probe has given up. */
  async #replace(container: Container): Promise<void> {
    const seconds = this.spec.livenessProbe?.terminationGracePeriodSeconds ?? this.#context.pod().spec?.terminationGracePeriodSeconds ?? 30;
    container.signal('SIGTERM');
    const timer = setTimeout(() => container.signal('SIGKILL'), seconds * 1000);
    await container.exited;
    clearTimeout(timer);
  }

  #ended(container: Container, exit: ContainerExit): Termination {
    const reason = exit.unknown ? 'ContainerStatusUnknown' : exit.exitCode === 0 ? 'Completed' : 'Error';
    const ended: Termination = {
      exitCode: exit.exitCode,
      reason,
      startedAt: container.record.startedAt,
      finishedAt: exit.finishedAt,
      containerId: this.#containerId(),
      ...(exit.unknown && { message: 'The container was lost while no node agent ran' }),
    };
    this.#container = undefined;
    this.#log = undefined;
    this.#ready = false;
    this.#started = false;
    rmSync(containerFiles(container.record.folder).root, { recursive: true, force: true });
    this.#set({ is: 'terminated', by: ended });
    return ended;
  }

  async #waitBeforeRestart(ended: Termination, signal: AbortSignal): Promise<void> {
    const ran = ended.finishedAt - ended.startedAt;
    const { restarts, wait: due } = this.#history.runs;
    const wait = ran >= steadyRun ? 0 : due;
    const next = wait === 0 ? crashBackoff.first : Math.min(wait * 2, crashBackoff.longest);
    if (wait === 0) {
      this.#history.change({ last: ended, restarts: restarts + 1, wait: next });
      return;
    }
    const { metadata } = this.#context.pod();
    const message = `back-off ${wait / 1000}s restarting failed container=${this.spec.name} pod=${metadata.name}_${metadata.namespace ?? ''}(${metadata.uid ?? ''})`;
    // The run that is over is shown as the last one; the restart counts when it happens.
    this.#history.change({ last: ended, wait: next });
    this.#set({ is: 'waiting', reason: 'CrashLoopBackOff', message });
    this.#context.event(
      'Warning',
      'BackOff',
      `Back-off restarting failed container ${this.spec.name} in pod ${metadata.name}_${metadata.namespace ?? ''}(${metadata.uid ?? ''})`,
    );
    await sleep(wait, signal);
    this.#history.change({ restarts: restarts + 1 });
  }

  async #hook(name: 'PostStart' | 'PreStop', handler: ILifecycleHandler, container: Container, signal: AbortSignal): Promise<void> {
    const target = { record: container.record, container: this.spec, podIp: this.#context.podIp() };
    const seconds = this.#context.pod().spec?.terminationGracePeriodSeconds ?? 30;
    const failure = await runHook(handler, target, seconds, signal);
    if (failure !== undefined) this.#context.event('Warning', `Failed${name}Hook`, `${name}Hook failed: ${failure}`);
  }

  #containerId(): string {
    const identity = `${this.#context.pod().metadata.uid ?? ''}/${this.spec.name}/${this.#history.runs.attempt}`;
    return `isthmus://${createHash('sha256').update(identity).digest('hex')}`;
  }

  #set(state: RunState): void {
    this.#state = state;
    this.#context.changed();
  }

  /** Takes up what an earlier node agent left. */
  #restore(): void {
    const { attempt, final } = this.#history.runs;
    if (final !== undefined) {
      this.#state = { is: 'terminated', by: final };
      return;
    }
    if (attempt === 0) return;
    const log = new LogFile(this.#history.logFile());
    this.#container = Container.adopt(this.#history.runFolder, log);
    if (this.#container === undefined) return;
    this.#log = log;
    this.#state = { is: 'running', startedAt: this.#container.record.startedAt };
    // What was ready stays so until a probe says otherwise.
    const known = this.#knownStatus();
    this.#ready = known?.ready === true;
    this.#started = known?.started === true;
  }

  #knownStatus(): IContainerStatus | undefined {
    const status = this.#context.pod().status;
    return [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])].find(({ name }) => name === this.spec.name);
  }
}

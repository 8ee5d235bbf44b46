import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import type { IContainer, IContainerStatus, ILifecycleHandler } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';
import { describeError, IsthmusError, sleep, type Logger } from '../../core/index.ts';
import { NetworkNamespace } from '../../linux/index.ts';
import { findImage, imageNames, type Image } from '../images/table.ts';
import { runInContainer } from './container-command.ts';
import { containerFiles } from './container-script.ts';
import { Container, type ContainerExit } from './container.ts';
import { expand } from './env.ts';
import { LogFile, readOldLog, type LogReadOptions } from './log-file.ts';
import type { ContainerKind, ContainerView, RunState, Termination } from './pod-status.ts';
import { probeContainer } from './prober.ts';
import { probeOnce } from './probe.ts';
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

interface Persisted {
  readonly attempt: number;
  readonly restarts: number;
  readonly wait: number;
  readonly last?: Termination;
  /** The current run has ended for good. */
  readonly final?: Termination;
}

/** One container of a pod through all its runs. What it knows is also in its folder, for the next node agent. */
export class ContainerRuntime {
  readonly spec: IContainer;
  readonly kind: ContainerKind;
  readonly #context: PodContext;
  readonly #folder: string;
  #state: RunState = { is: 'waiting', reason: 'ContainerCreating' };
  #persisted: Persisted = { attempt: 0, restarts: 0, wait: 0 };
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
    this.#folder = path.join(context.folder, 'containers', spec.name);
    if (kind !== 'init' && (context.pod().spec?.initContainers ?? []).length > 0)
      this.#state = { is: 'waiting', reason: 'PodInitializing' };
    this.#image = findImage(spec.image ?? '');
    this.#restore();
  }

  get view(): ContainerView {
    const { restarts, last } = this.#persisted;
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
      imageId: this.#state.is === 'waiting' && this.#persisted.attempt === 0 ? '' : (this.#image?.id ?? ''),
      containerId: this.#persisted.attempt === 0 ? '' : this.#containerId(),
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
        if (this.#persisted.final !== undefined) return this.#persisted.final;
        if (this.#container === undefined) await this.#startWithRetries(signal);
        const container = this.#container;
        if (container === undefined) return undefined;
        // It was being started when the pod's end began, which found nothing to stop.
        if (this.#context.terminating()) container.signal('SIGKILL');
        const ended = await this.#observe(container, signal);
        if (stopped()) return ended;
        if (!this.#restarts(ended)) {
          this.#persist({ final: ended });
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
    if (options.previous === true) yield readOldLog(this.#logPath(this.#persisted.attempt - 1), options);
    else if (this.#log !== undefined) yield* this.#log.read(options);
    else if (this.#persisted.attempt > 0) yield readOldLog(this.#logPath(this.#persisted.attempt), options);
  }

  /** Whether there is a log to read. */
  hasLog(previous: boolean): boolean {
    const { attempt } = this.#persisted;
    return attempt > 0 && existsSync(this.#logPath(previous ? attempt - 1 : attempt));
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
    const attempt = this.#persisted.attempt + 1;
    this.#forget(attempt - 2);
    this.#persist({ attempt });
    const log = new LogFile(this.#logPath(attempt));
    const netns = this.#context.netns();
    using namespace = netns === undefined ? undefined : NetworkNamespace.open(netns);
    const command = [...(spec.command ?? image.entrypoint), ...(spec.args ?? (spec.command === undefined ? image.arguments : []))];
    event('Normal', 'Created', `Created container: ${spec.name}`);
    this.#container = await Container.start(
      {
        folder: path.join(this.#folder, String(attempt)),
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
    const wait = ran >= steadyRun ? 0 : this.#persisted.wait;
    const next = wait === 0 ? crashBackoff.first : Math.min(wait * 2, crashBackoff.longest);
    this.#persist({ last: ended, restarts: this.#persisted.restarts + 1, wait: next });
    if (wait === 0) return;
    const { metadata } = this.#context.pod();
    const message = `back-off ${wait / 1000}s restarting failed container=${this.spec.name} pod=${metadata.name}_${metadata.namespace ?? ''}(${metadata.uid ?? ''})`;
    // The run that is over is shown as the last one; the restart counts when it happens.
    this.#persist({ restarts: this.#persisted.restarts - 1 });
    this.#set({ is: 'waiting', reason: 'CrashLoopBackOff', message });
    this.#context.event(
      'Warning',
      'BackOff',
      `Back-off restarting failed container ${this.spec.name} in pod ${metadata.name}_${metadata.namespace ?? ''}(${metadata.uid ?? ''})`,
    );
    await sleep(wait, signal);
    this.#persist({ restarts: this.#persisted.restarts + 1 });
  }

  async #hook(name: 'PostStart' | 'PreStop', handler: ILifecycleHandler, container: Container, signal: AbortSignal): Promise<void> {
    const seconds = this.#context.pod().spec?.terminationGracePeriodSeconds ?? 30;
    const fail = (message: string): void => this.#context.event('Warning', `Failed${name}Hook`, `${name}Hook failed: ${message}`);
    try {
      if (handler.exec !== undefined) {
        const { exitCode, output } = await runInContainer(container.record, handler.exec.command ?? [], seconds * 1000, signal);
        if (exitCode !== 0) fail(`exit code ${exitCode}: ${output}`);
      } else if (handler.httpGet !== undefined) {
        const target = { record: container.record, container: this.spec, podIp: this.#context.podIp() };
        const result = await probeOnce({ httpGet: handler.httpGet, timeoutSeconds: seconds }, target, signal);
        if (!result.ok) fail(result.message);
      } else if (handler.sleep !== undefined) await sleep(handler.sleep.seconds * 1000, signal);
    } catch (error) {
      if (!signal.aborted) fail(describeError(error));
    }
  }

  #containerId(): string {
    const identity = `${this.#context.pod().metadata.uid ?? ''}/${this.spec.name}/${this.#persisted.attempt}`;
    return `isthmus://${createHash('sha256').update(identity).digest('hex')}`;
  }

  #logPath(attempt: number): string {
    return path.join(this.#context.logFolder, this.spec.name, `${attempt - 1}.log`);
  }

  /** Removes what is left of an old run. */
  #forget(attempt: number): void {
    if (attempt < 1) return;
    rmSync(path.join(this.#folder, String(attempt)), { recursive: true, force: true });
    rmSync(this.#logPath(attempt), { force: true });
    rmSync(`${this.#logPath(attempt)}.1`, { force: true });
  }

  #set(state: RunState): void {
    this.#state = state;
    this.#context.changed();
  }

  #persist(change: Partial<Persisted>): void {
    this.#persisted = { ...this.#persisted, ...change };
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const file = path.join(this.#folder, 'runtime.json');
    writeFileSync(`${file}.new`, JSON.stringify(this.#persisted));
    renameSync(`${file}.new`, file);
  }

  /** Takes up what an earlier node agent left. */
  #restore(): void {
    const file = path.join(this.#folder, 'runtime.json');
    if (!existsSync(file)) return;
    this.#persisted = JSON.parse(readFileSync(file, 'utf8')) as Persisted;
    const { attempt, final } = this.#persisted;
    if (final !== undefined) {
      this.#state = { is: 'terminated', by: final };
      return;
    }
    const log = new LogFile(this.#logPath(attempt));
    this.#container = Container.adopt(path.join(this.#folder, String(attempt)), log);
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

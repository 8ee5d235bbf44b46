import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { Version, WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema, type WorkloadRequest } from '../api/gen/istio/zds_pb.js';
import { describeError, IsthmusError, type Logger } from '../core/index.ts';
import { listenSeqpacket, type NetworkNamespace, type SeqpacketConnection, type SeqpacketListener } from '../linux/index.ts';

/** A pod as ztunnel hears of it. */
export interface ZdsPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Stays open while the pod is known here. */
  readonly netns: NetworkNamespace;
}

export interface ZdsServerOptions {
  /** Default of upstream: /var/run/ztunnel/ztunnel.sock. */
  readonly path: string;
  readonly log: Logger;
  /** A ztunnel has the whole snapshot: pods that could not be handed over before can be now. */
  readonly onConnected?: () => void;
  /** How long ztunnel may take for its hello and for each answer, milliseconds; default 5000. */
  readonly answerTimeoutMs?: number;
}

/**
 * The agent's end of ZDS: tells ztunnel which pods to stand in for. It holds the pods that should be served; a ztunnel that
 * connects gets them all (the snapshot), then every change. During an upgrade two are connected: additions go to the
 * newest, removals to all; when the newest goes, the one before becomes current and gets what it has missed.
 */
export class ZdsServer {
  readonly #options: ZdsServerOptions;
  readonly #pods = new Map<string, ZdsPod>();
  readonly #kept = new Set<string>();
  /** Newest last. */
  readonly #connections: Connection[] = [];
  #listener: SeqpacketListener | undefined;

  constructor(options: ZdsServerOptions) {
    this.#options = options;
  }

  /** Whether a ztunnel with a complete snapshot is connected. */
  get connected(): boolean {
    return this.#connections.some(({ synced }) => synced);
  }

  /** Starts to listen. The pods there are by now are the snapshot, so add them before. LINUX_SYSCALL. */
  listen(): void {
    const listener = listenSeqpacket({ path: this.#options.path });
    this.#listener = listener;
    void this.#accept(listener);
  }

  /** Includes a pod in coming snapshots without telling anyone: it is known to be served already. */
  remember(pod: ZdsPod): void {
    this.#kept.delete(pod.uid);
    this.#pods.set(pod.uid, pod);
  }

  /** A pod that is served already and whose namespace is not found yet: the first snapshot asks ztunnel to go on with it. */
  keep(uid: string): void {
    this.#kept.add(uid);
  }

  /**
   * Hands a pod to the current ztunnel and waits until it stands in for it. CNI_NO_ZTUNNEL when none is connected,
   * CNI_ZTUNNEL_REFUSED when it says no, CNI_ZTUNNEL_TIMEOUT; in each case the pod is in the next snapshot.
   */
  async add(pod: ZdsPod): Promise<void> {
    this.remember(pod);
    const current = this.#connections.findLast(({ synced }) => synced);
    if (current === undefined) {
      throw new IsthmusError('CNI_NO_ZTUNNEL', 'no ztunnel is connected on this node', {
        hint: 'kubectl get pods -n istio-system -l app=ztunnel -o wide',
      });
    }
    await current.add(pod);
  }

  /** Takes a pod from all ztunnels. Failures are logged: a ztunnel that is gone has no pods. */
  async delete(uid: string): Promise<void> {
    this.#pods.delete(uid);
    this.#kept.delete(uid);
    await Promise.all(
      this.#connections.map(async (connection) => {
        try {
          await connection.delete(uid);
        } catch (error) {
          this.#options.log.warn({ uid, error: describeError(error) }, 'pod not taken from a ztunnel');
        }
      }),
    );
  }

  close(): void {
    this.#listener?.close();
    for (const connection of [...this.#connections]) connection.close();
  }

  async #accept(listener: SeqpacketListener): Promise<void> {
    for (;;) {
      try {
        const socket = await listener.accept();
        if (socket === undefined) return;
        void this.#serve(new Connection(socket, this.#options.answerTimeoutMs ?? 5000));
      } catch (error) {
        this.#options.log.error({ error: describeError(error) }, 'a ztunnel could not be accepted');
      }
    }
  }

  async #serve(connection: Connection): Promise<void> {
    const { log } = this.#options;
    this.#connections.push(connection);
    try {
      await connection.hello();
      log.info({ pods: this.#pods.size }, 'ztunnel connected');
      await connection.snapshot({ pods: this.#pods, kept: this.#kept }, log);
      this.#options.onConnected?.();
      await connection.ended;
      log.info('ztunnel disconnected');
    } catch (error) {
      log.warn({ error: describeError(error) }, 'connection to ztunnel ended');
    } finally {
      connection.close();
      this.#connections.splice(this.#connections.indexOf(connection), 1);
      await this.#promote();
    }
  }

  /** The ztunnel that is the newest now gets what only its successor was told. */
  async #promote(): Promise<void> {
    const current = this.#connections.findLast(({ synced }) => synced);
    if (current === undefined) return;
    for (const pod of this.#pods.values()) {
      if (current.has(pod.uid)) continue;
      try {
        await current.add(pod);
      } catch (error) {
        this.#options.log.warn({ uid: pod.uid, error: describeError(error) }, 'pod not handed to ztunnel');
      }
    }
  }
}

/** One ztunnel. Requests go out one at a time: an answer belongs to the oldest request that has none. */
class Connection {
  /** Resolves when the connection is over. */
  readonly ended: Promise<void>;
  /** The snapshot is complete. */
  synced = false;
  readonly #socket: SeqpacketConnection;
  readonly #timeoutMs: number;
  readonly #acked = new Set<string>();
  readonly #hello = Promise.withResolvers<Uint8Array>();
  /** Waits for the answer to the request under way. */
  #waiting: PromiseWithResolvers<string> | undefined;
  /** Answers to requests that were given up, still to come. */
  #late = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(socket: SeqpacketConnection, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#hello.promise.catch(() => undefined);
    this.ended = this.#receive();
    // Whoever waits for the end hears of a failure; before, it shows in the request under way.
    this.ended.catch(() => undefined);
  }

  has(uid: string): boolean {
    return this.#acked.has(uid);
  }

  async hello(): Promise<void> {
    const packet = await this.#within(this.#hello.promise, 'hello');
    const { version } = fromBinary(ZdsHelloSchema, packet);
    if (version !== Version.V1)
      throw new IsthmusError('CNI_ZTUNNEL_REFUSED', `ztunnel speaks version ${version} of ZDS, which is not known here`);
  }

  /** As one piece: changes wait until all is sent, and a pod that went meanwhile is left out. A refused pod is logged. */
  async snapshot({ pods, kept }: { pods: ReadonlyMap<string, ZdsPod>; kept: ReadonlySet<string> }, log: Logger): Promise<void> {
    await this.#inTurn(async () => {
      for (const uid of kept) await this.#request({ case: 'keep', value: { $typeName: 'istio.workload.zds.KeepWorkload', uid } });
      // A live view: iteration sees what comes and goes meanwhile.
      for (const [uid, pod] of pods) {
        try {
          await this.#add(pod);
        } catch (error) {
          if (!(error instanceof IsthmusError) || error.code !== 'CNI_ZTUNNEL_REFUSED') throw error;
          log.warn({ uid, error: error.oneLine() }, 'ztunnel refused a pod of the snapshot');
        }
      }
      await this.#request({ case: 'snapshotSent', value: { $typeName: 'istio.workload.zds.SnapshotSent' } });
      this.synced = true;
    });
  }

  async add(pod: ZdsPod): Promise<void> {
    await this.#inTurn(() => this.#add(pod));
  }

  async delete(uid: string): Promise<void> {
    await this.#inTurn(async () => {
      this.#acked.delete(uid);
      await this.#request({ case: 'del', value: { $typeName: 'istio.workload.zds.DelWorkload', uid } });
    });
  }

  close(): void {
    this.#socket.close();
  }

  async #add({ uid, name, namespace, serviceAccount, netns }: ZdsPod): Promise<void> {
    const workloadInfo = { $typeName: 'istio.workload.zds.WorkloadInfo', name, namespace, serviceAccount } as const;
    await this.#request({ case: 'add', value: { $typeName: 'istio.workload.zds.AddWorkload', uid, workloadInfo } }, [netns.fd]);
    this.#acked.add(uid);
  }

  async #request(payload: WorkloadRequest['payload'], descriptors: readonly number[] = []): Promise<void> {
    const waiting = Promise.withResolvers<string>();
    this.#waiting = waiting;
    try {
      await this.#socket.send(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload })), descriptors);
      const error = await this.#within(waiting.promise, `answer to ${payload.case ?? 'a request'}`, () => this.#late++);
      if (error !== '') throw new IsthmusError('CNI_ZTUNNEL_REFUSED', `ztunnel refused: ${error}`);
    } finally {
      this.#waiting = undefined;
    }
  }

  async #receive(): Promise<void> {
    let greeted = false;
    try {
      for (;;) {
        const packet = await this.#socket.receive();
        if (packet === undefined) return;
        if (!greeted) {
          greeted = true;
          this.#hello.resolve(packet.data);
        } else if (this.#late > 0) {
          this.#late--;
        } else {
          this.#waiting?.resolve(fromBinary(WorkloadResponseSchema, packet.data).payload.value?.error ?? '');
        }
      }
    } finally {
      this.#socket.close();
      const gone = new IsthmusError('CNI_NO_ZTUNNEL', 'ztunnel closed the connection');
      this.#hello.reject(gone);
      this.#waiting?.reject(gone);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #within<T>(promise: Promise<T>, what: string, onTimeout?: () => void): Promise<T> {
    const timeout = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      onTimeout?.();
      timeout.reject(new IsthmusError('CNI_ZTUNNEL_TIMEOUT', `no ${what} from ztunnel within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    try {
      return await Promise.race([promise, timeout.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

import { IsthmusError, type Logger } from '../core/index.ts';
import { decide, type RbacConnection } from './rbac.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { Workload } from './state/model.ts';

export interface InboundConnection {
  readonly rbac: RbacConnection;
  /** As it was when the connection came. */
  readonly destination: Workload;
}

/** An open connection as the dump of the state shows it. */
export interface ConnectionDump {
  readonly direction: 'inbound' | 'outbound';
  readonly pod: string;
  readonly src: string;
  readonly originalDst: string;
  readonly actualDst: string;
  readonly protocol: 'TCP' | 'HBONE';
}

/** A permission to be open; `signal` is aborted when a changed policy takes it back. */
export interface Admission extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * Admits inbound connections by policy, and again after every change of the policies, for as long as they are open.
 * Outbound ones are only listed.
 */
export class ConnectionTracker implements Disposable {
  readonly #state: MeshState;
  readonly #log: Logger;
  readonly #admitted = new Map<AbortController, InboundConnection>();
  readonly #listed = new Set<ConnectionDump>();
  readonly #stopListening: () => void;

  constructor(options: { readonly state: MeshState; readonly log: Logger }) {
    this.#state = options.state;
    this.#log = options.log;
    this.#stopListening = this.#state.onPolicyChange(() => {
      this.#reevaluate();
    });
  }

  /** Throws ZTUNNEL_POLICY_DENIED. No policy can change between the decision and the admission: both are one step. */
  admit(connection: InboundConnection): Admission {
    const reason = this.#refusal(connection);
    if (reason !== undefined) throw new IsthmusError('ZTUNNEL_POLICY_DENIED', `connection closed due to policy rejection: ${reason}`);
    const controller = new AbortController();
    this.#admitted.set(controller, connection);
    return { signal: controller.signal, [Symbol.dispose]: () => this.#admitted.delete(controller) };
  }

  /** Lists a connection while it is open. */
  list(connection: ConnectionDump): Disposable {
    this.#listed.add(connection);
    return { [Symbol.dispose]: () => this.#listed.delete(connection) };
  }

  dump(): readonly ConnectionDump[] {
    return [...this.#listed];
  }

  [Symbol.dispose](): void {
    this.#stopListening();
  }

  #reevaluate(): void {
    for (const [controller, connection] of [...this.#admitted]) {
      if (this.#refusal(connection) === undefined) continue;
      this.#admitted.delete(controller);
      controller.abort(new IsthmusError('ZTUNNEL_POLICY_CHANGED', 'connection closed due to policy change'));
    }
  }

  #refusal({ rbac, destination }: InboundConnection): string | undefined {
    const { policies, missing } = this.#state.policies.applicable(destination.namespace, destination.authorizationPolicies);
    if (missing.length > 0) this.#log.warn({ workload: destination.uid, missing }, 'policies of a workload are not known and not applied');
    const decision = decide(policies, rbac);
    for (const { action, policy } of decision.dryRun) this.#log.info({ action, policy, workload: destination.uid }, 'dry-run policy match');
    return decision.allowed ? undefined : decision.reason;
  }
}

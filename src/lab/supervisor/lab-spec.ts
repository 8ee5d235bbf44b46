import type { ClusterPlan, NetworkMode } from '../network/plan.ts';

/** What a lab is, as `lab up` hands it to the supervisor. */
export interface LabSpec {
  /** The lab's directory on the host. */
  readonly directory: string;
  /** The repository. */
  readonly checkout: string;
  readonly compileCache: string;
  readonly network: NetworkMode;
  readonly clusters: readonly ClusterPlan[];
  /** Whether the lab ends with the process that started it. */
  readonly diesWithCaller: boolean;
}

/** The state file of a running lab. */
export interface LabState extends LabSpec {
  /** Of the process that holds the lab's namespaces, in the host's PID namespace. */
  readonly pid: number;
  /** Field 22 of its /proc/PID/stat: tells it from a later process with the same pid. */
  readonly startTime: string;
  readonly startedAt: string;
}

/** What the supervisor writes to the one who started it: a line of JSON each. */
export type StartEvent =
  | { readonly event: 'progress'; readonly message: string }
  | { readonly event: 'ready' }
  | { readonly event: 'failed'; readonly message: string };

import type { ObjectMeta, OwnerReference } from '../../api/kubernetes.ts';
import type { ResourceType } from '../../api/resources.ts';

/**
 * Who owns whom in a cluster, as kube-controller-manager's garbage collector keeps it (graph_builder.go). It is fed with the
 * changes of all kinds and says which objects have to be looked at; what to do with them is decided by what the API server
 * says then, not by this graph.
 */

export const foregroundFinalizer = 'foregroundDeletion';
export const orphanFinalizer = 'orphan';

/** An object, as far as ownership goes. */
export interface GraphNode {
  readonly uid: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Undefined for an owner that is only known by a reference to it. */
  type: ResourceType | undefined;
  owners: readonly OwnerReference[];
  readonly dependents: Set<GraphNode>;
  deleting: boolean;
  /** Waits until its dependents are gone: deleted in the foreground. */
  deletingDependents: boolean;
}

/** What has to be looked at after a change. */
export interface GraphWork {
  /** May have to be deleted, or let go. */
  readonly examine: readonly GraphNode[];
  /** Deleted, but its dependents are to stay: they lose the reference to it. */
  readonly orphan: readonly GraphNode[];
}

export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** An object was added or changed. */
  upsert(type: ResourceType, apiVersion: string, kind: string, metadata: ObjectMeta): GraphWork {
    const { uid } = metadata;
    if (uid === undefined) return { examine: [], orphan: [] };
    const examine = new Set<GraphNode>();
    const orphan: GraphNode[] = [];
    let node = this.#nodes.get(uid);
    if (node === undefined || node.type === undefined) {
      // An owner known by reference alone becomes known by itself; its dependents stay.
      const known = node;
      node = {
        uid,
        apiVersion,
        kind,
        namespace: metadata.namespace ?? '',
        name: metadata.name,
        type,
        owners: [],
        dependents: known?.dependents ?? new Set(),
        deleting: false,
        deletingDependents: false,
      };
      this.#nodes.set(uid, node);
    }
    this.#setOwners(node, metadata.ownerReferences ?? [], examine);
    const finalizers = metadata.finalizers ?? [];
    const deleting = metadata.deletionTimestamp !== undefined;
    if (deleting && finalizers.includes(orphanFinalizer)) orphan.push(node);
    const waiting = deleting && finalizers.includes(foregroundFinalizer);
    if (waiting && !node.deletingDependents) {
      examine.add(node);
      for (const dependent of node.dependents) examine.add(dependent);
    }
    if (deleting && !node.deleting) this.#wakeOwners(node, examine);
    node.deleting = deleting;
    node.deletingDependents = waiting;
    return { examine: [...examine], orphan };
  }

  /** An object is gone, or an owner that was only referred to does not exist. */
  remove(uid: string): GraphWork {
    const node = this.#nodes.get(uid);
    if (node === undefined) return { examine: [], orphan: [] };
    const examine = new Set<GraphNode>();
    this.#wakeOwners(node, examine);
    this.#setOwners(node, [], new Set());
    this.#nodes.delete(uid);
    for (const dependent of node.dependents) examine.add(dependent);
    return { examine: [...examine], orphan: [] };
  }

  /** Owners that wait for their dependents may wait no more. */
  #wakeOwners(node: GraphNode, examine: Set<GraphNode>): void {
    for (const { uid } of node.owners) {
      const owner = this.#nodes.get(uid);
      if (owner?.deletingDependents === true) examine.add(owner);
    }
  }

  #setOwners(node: GraphNode, owners: readonly OwnerReference[], examine: Set<GraphNode>): void {
    const before = new Map(node.owners.map((reference) => [reference.uid, reference]));
    const after = new Map(owners.map((reference) => [reference.uid, reference]));
    node.owners = owners;
    for (const uid of before.keys()) {
      if (after.has(uid)) continue;
      const owner = this.#nodes.get(uid);
      owner?.dependents.delete(node);
      if (owner?.deletingDependents === true) examine.add(owner);
      // Nobody refers to it any more, and it was never seen.
      if (owner?.type === undefined && owner?.dependents.size === 0) this.#nodes.delete(uid);
    }
    for (const [uid, reference] of after) {
      let owner = this.#nodes.get(uid);
      if (owner === undefined) {
        owner = unseenOwner(reference, node.namespace);
        this.#nodes.set(uid, owner);
        // Does it exist at all?
        examine.add(owner);
      }
      owner.dependents.add(node);
      if (owner.deletingDependents) {
        examine.add(node);
        examine.add(owner);
      } else if (before.get(uid)?.blockOwnerDeletion === true && reference.blockOwnerDeletion !== true) {
        examine.add(owner);
      }
    }
  }
}

function unseenOwner(reference: OwnerReference, namespace: string): GraphNode {
  return {
    uid: reference.uid,
    apiVersion: reference.apiVersion,
    kind: reference.kind,
    namespace,
    name: reference.name,
    type: undefined,
    owners: [],
    dependents: new Set(),
    deleting: false,
    deletingDependents: false,
  };
}

/** What to do with an object that may be garbage. */
export type Verdict =
  | { readonly action: 'keep' }
  /** Some owners are gone or going: the references to them are taken away, the object stays for the others. */
  | { readonly action: 'release'; readonly owners: readonly OwnerReference[] }
  | { readonly action: 'delete'; readonly policy: 'Foreground' | 'Background' | 'Orphan' };

/** The state of an owner, as the API server told it. */
export type OwnerState = 'solid' | 'absent' | 'waiting';

export interface Judged {
  readonly metadata: ObjectMeta;
  /** For each of metadata.ownerReferences, by uid. */
  readonly ownerStates: ReadonlyMap<string, OwnerState>;
  readonly hasDependents: boolean;
}

/** attemptToDeleteItem's decision: an object stays as long as one owner that is not going to be deleted has it. */
export function judge({ metadata, ownerStates, hasDependents }: Judged): Verdict {
  const owners = metadata.ownerReferences ?? [];
  if (owners.length === 0) return { action: 'keep' };
  const stateOf = ({ uid }: OwnerReference): OwnerState => ownerStates.get(uid) ?? 'solid';
  const solid = owners.filter((owner) => stateOf(owner) === 'solid');
  if (solid.length === owners.length) return { action: 'keep' };
  if (solid.length > 0) return { action: 'release', owners: solid };
  // An owner that is deleted in the foreground waits for this object's own dependents too.
  if (hasDependents && owners.some((owner) => stateOf(owner) === 'waiting')) return { action: 'delete', policy: 'Foreground' };
  const finalizers = metadata.finalizers ?? [];
  if (finalizers.includes(orphanFinalizer)) return { action: 'delete', policy: 'Orphan' };
  if (finalizers.includes(foregroundFinalizer)) return { action: 'delete', policy: 'Foreground' };
  return { action: 'delete', policy: 'Background' };
}

import assert from 'node:assert/strict';

import type { KubeObject } from '../../../src/api/kubernetes.ts';
import { istioNamespace, labels } from '../../../src/api/names.ts';
import { resources } from '../../../src/api/resources.ts';
import { applyObjects } from '../../../src/cli/apply.ts';
import { KubeClient } from '../../../src/kube/index.ts';
import type { TestLab } from '../lab-fixture.ts';
import { applicationHost, applicationName, applicationNamespace, namespaceManifest } from './application.ts';
import { actualEntries, differences, expectedEntries, isLinked, placeState, type ClusterView } from './expected-entries.ts';
import { exportedServices, type ExportedPod } from './exported.ts';
import type { PeeringMode } from './modes.ts';
import { SteadyLoad } from './steady-load.ts';
import { Timeline } from './timeline.ts';
import { judge, staleBound, type Verdict } from './verdict.ts';
import { Changes, WatchedCluster, type ClusterState } from './watched-cluster.ts';

/** One of the two clusters, its clients' load, and what they may be answered by. */
export interface Side {
  readonly cluster: WatchedCluster;
  /** What its pods say. */
  readonly version: string;
  readonly load: SteadyLoad;
  readonly timeline: Timeline;
  /** Since when its entries are not what the clusters export; milliseconds since 1970. */
  differsSince: number | undefined;
}

/** What was measured in one case. */
export interface CaseRecord {
  readonly name: string;
  readonly start: number;
  end: number;
  /** Longest time in which some cluster's entries were not what the clusters export, milliseconds. */
  worstLag: number;
  error: string | undefined;
}

/** Requests after a case that all have to be right, in a row. */
const requestsInOrder = 10;

/** The clusters of a mode, watched from outside by their API servers and from inside by a steady load in each. */
export class World {
  readonly mode: PeeringMode;
  readonly changes = new Changes();
  readonly records: CaseRecord[] = [];
  readonly sides: readonly [Side, Side];
  readonly #objects = new Changes();
  readonly #stop = new AbortController();
  #judgedFrom = 0;
  /** Objects that are not the product's, with what they were when they were made. */
  readonly #foreign = new Map<string, string>();

  constructor(lab: TestLab, mode: PeeringMode) {
    this.mode = mode;
    const clusterOf = new Map([
      ['v1', 'cluster-1'],
      ['v2', 'cluster-2'],
    ]);
    const side = (version: string, name: string): Side => {
      const client = KubeClient.fromKubeconfig({ path: lab.kubeconfig, context: name });
      return {
        cluster: new WatchedCluster(name, client, this.#objects),
        version,
        load: new SteadyLoad({ cluster: name, client, changes: this.changes, clusterOf }),
        timeline: new Timeline(),
        differsSince: undefined,
      };
    };
    this.sides = [side('v1', 'cluster-1'), side('v2', 'cluster-2')];
    this.#objects.on(() => {
      this.#update(Date.now());
      this.changes.announce();
    });
  }

  /** The cluster whose entries are looked at first. */
  get importing(): Side {
    return this.sides[0];
  }

  /** The one in which things happen. */
  get exporting(): Side {
    return this.sides[1];
  }

  /** Begins to watch and to send. */
  async start(): Promise<void> {
    await Promise.all(this.sides.map((side) => applyObjects(side.cluster.client, [namespaceManifest])));
    await this.#makeForeign();
    await Promise.all(this.sides.map(({ cluster }) => cluster.watch(this.#stop.signal)));
    this.#update(Date.now());
    await Promise.all(this.sides.map(({ load }) => load.start(`http://${applicationHost}:5000/hello`, this.#stop.signal)));
  }

  stop(): void {
    this.#stop.abort();
    for (const { cluster } of this.sides) cluster.client[Symbol.dispose]();
  }

  /** Runs a case, waits until all is as it has to be, and judges everything that was sent until then. */
  async run(name: string, work: () => Promise<void>): Promise<void> {
    const record: CaseRecord = { name, start: Date.now(), end: Infinity, worstLag: 0, error: undefined };
    this.records.push(record);
    try {
      await work();
      await this.settle();
      this.assertRight();
    } catch (error) {
      record.error = (error as Error).message;
      throw error;
    } finally {
      record.end = Date.now();
    }
  }

  /** The pods of a cluster that it exports, by its API server. */
  exportedPods({ cluster }: Side): readonly ExportedPod[] {
    return applicationOf(cluster.state());
  }

  /** Waits until a cluster exports so many pods, or what `wanted` says of them. */
  async untilExported(side: Side, wanted: number | ((pods: readonly ExportedPod[]) => boolean)): Promise<readonly ExportedPod[]> {
    const isWanted = typeof wanted === 'number' ? (pods: readonly ExportedPod[]) => pods.length === wanted : wanted;
    return await this.changes.until(
      `${side.cluster.name}: ${typeof wanted === 'number' ? String(wanted) : 'the'} ready endpoints`,
      () => {
        const pods = this.exportedPods(side);
        return isWanted(pods) ? pods : undefined;
      },
      () => `it has ${JSON.stringify(this.exportedPods(side))}`,
    );
  }

  /** Waits until every cluster's entries are what the clusters export, and until its clients' requests follow; nobody else's objects were touched. */
  async settle(): Promise<void> {
    for (;;) {
      await this.changes.until(
        'the entries of all clusters to be what the clusters export',
        () => (this.sides.every((side) => this.#differences(side, (other) => other.cluster.state()).length === 0) ? true : undefined),
        () => this.sides.flatMap((side) => [side.cluster.name, ...this.#differences(side, (other) => other.cluster.state())]).join('\n'),
      );
      // What the watches told is checked against what the API servers answer.
      const states = new Map<Side, ClusterState>();
      for (const side of this.sides) states.set(side, await side.cluster.read());
      const state = (side: Side): ClusterState => states.get(side) ?? side.cluster.state();
      if (this.sides.some((side) => this.#differences(side, state).length > 0)) continue;
      for (const side of this.sides) this.#assertForeignUntouched(side.cluster.name, state(side));
      break;
    }
    const mark = Date.now();
    await Promise.all(this.sides.map((side) => this.#untilRequestsAreRight(side, mark)));
  }

  /** Runs `work` and asserts that it changed no entry of any cluster. */
  async withoutWrites(work: () => Promise<void>): Promise<void> {
    const versions = async (): Promise<string[]> => {
      const states = await Promise.all(this.sides.map(({ cluster }) => cluster.read()));
      return states.flatMap((state) => [...state.serviceEntries, ...state.workloadEntries].map(incarnation)).sort();
    };
    const before = await versions();
    await work();
    assert.deepEqual(await versions(), before, 'entries were written though nothing had changed');
  }

  /** What one cluster's clients sent since some time, judged. */
  verdict({ timeline, load }: Side, since = 0): Verdict {
    const isSince = ({ start }: { readonly start: number }): boolean => start >= since;
    return judge(timeline, load.requests.filter(isSince), load.attempts.filter(isSince));
  }

  /** Asserts that every request so far went where it may go, and failed only where it may fail. */
  assertRight(): void {
    for (const side of this.sides) {
      const { stale, astray, failed } = this.verdict(side, this.#judgedFrom);
      const late = stale.filter(({ goneMs }) => goneMs > staleBound);
      const { name } = side.cluster;
      assert.deepEqual(late, [], `${name}: requests went to pods that were gone for more than ${String(staleBound)} ms`);
      assert.deepEqual(astray, [], `${name}: requests went astray`);
      assert.deepEqual(failed, [], `${name}: requests failed`);
    }
  }

  /** What was sent until now is right no matter what: it was meant to go wrong. */
  judgeFromNow(): void {
    this.#judgedFrom = Date.now();
  }

  #update(now: number): void {
    for (const side of this.sides) {
      // Entries in a namespace that is being deleted go at some moment of that.
      const isAssured = this.#place(side) === 'there';
      side.timeline.update(now, new Set(this.#targets(side).keys()), isAssured);
      const differs = this.#differences(side, (other) => other.cluster.state()).length > 0;
      if (differs) side.differsSince ??= now;
      else if (side.differsSince !== undefined) {
        const record = this.records.at(-1);
        if (record !== undefined) record.worstLag = Math.max(record.worstLag, now - side.differsSince);
        side.differsSince = undefined;
      }
    }
  }

  /** `<cluster>/<pod>` of all that may answer a cluster's clients, with the port on which they do. */
  #targets(side: Side): ReadonlyMap<string, number | undefined> {
    const here = side.cluster.state();
    if (this.#place(side) === 'missing') return new Map();
    return new Map(
      this.sides
        .filter((other) => other === side || isLinked(here, other.cluster.name))
        .flatMap((other) =>
          this.exportedPods(other).map(({ name, targetPorts }) => [`${other.cluster.name}/${name}`, targetPorts.get(5000)] as const),
        ),
    );
  }

  /** Whether there is, in a cluster, the namespace in which its entries stand. */
  #place({ cluster }: Side): ReturnType<typeof placeState> {
    return this.mode.rules.placement === 'root' ? 'there' : placeState(cluster.state(), applicationNamespace);
  }

  #differences(side: Side, stateOf: (side: Side) => ClusterState): readonly string[] {
    const view = (one: Side): ClusterView => ({ name: one.cluster.name, state: stateOf(one) });
    const others = this.sides.filter((other) => other !== side).map(view);
    const here = view(side);
    const isForeign = (entry: KubeObject): boolean => this.#foreign.has(`${here.name} ${nameOf(entry)}`);
    return differences(expectedEntries(here, others, this.mode.rules), actualEntries(here.state, isForeign));
  }

  /** Every pod that may answer does, on the right port, and nothing fails, for some requests in a row; without such pods, nothing answers. */
  async #untilRequestsAreRight(side: Side, mark: number): Promise<void> {
    const seen = (): { readonly count: number; readonly missing: readonly string[] } => {
      const targets = this.#targets(side);
      const since = side.load.requests.filter(({ start }) => start >= mark);
      const wrong = since.findLastIndex(({ answeredBy, answeredOn }) =>
        targets.size === 0 ? answeredBy !== undefined : answeredBy === undefined || targets.get(answeredBy) !== answeredOn,
      );
      const right = since.slice(wrong + 1);
      const answering = new Set(right.map(({ answeredBy }) => answeredBy));
      return { count: right.length, missing: [...targets.keys()].filter((target) => !answering.has(target)) };
    };
    await this.changes.until(
      `${side.cluster.name}: ${String(requestsInOrder)} right requests, to all endpoints`,
      () => {
        const { count, missing } = seen();
        return count >= requestsInOrder && missing.length === 0 ? true : undefined;
      },
      () =>
        JSON.stringify({
          ...seen(),
          targets: [...this.#targets(side)],
          newest: side.load.requests.slice(-5),
          tried: side.load.attempts.slice(-5),
        }),
    );
  }

  /** Entries of a user's, one of them with a name like the product's. */
  async #makeForeign(): Promise<void> {
    const { client, name } = this.importing.cluster;
    for (const namespace of [istioNamespace, applicationNamespace]) {
      const entries: (KubeObject & { spec: unknown })[] = [
        {
          apiVersion: 'networking.istio.io/v1',
          kind: 'ServiceEntry',
          metadata: { name: `autogen.${applicationNamespace}.theirs`, namespace },
          spec: { hosts: [`theirs.${namespace}.example`], ports: [{ name: 'http', number: 80 }], resolution: 'STATIC' },
        },
        {
          apiVersion: 'networking.istio.io/v1',
          kind: 'WorkloadEntry',
          metadata: { name: `autogen.cluster-2.${applicationNamespace}.theirs`, namespace, labels: { app: 'theirs' } },
          spec: { address: '10.20.255.254' },
        },
      ];
      await applyObjects(client, entries, { fieldManager: 'a-user' });
    }
    for (const type of [resources.serviceEntries, resources.workloadEntries]) {
      const { items } = await client.list<KubeObject>(type);
      for (const entry of items) if (entry.metadata.name.endsWith('.theirs')) this.#foreign.set(`${name} ${nameOf(entry)}`, wanted(entry));
    }
    assert.equal(this.#foreign.size, 4);
    const places = { [labels.region]: 'region-2', [labels.zone]: 'zone-b' };
    for (const { cluster } of this.sides) {
      const { items } = await cluster.client.list(resources.nodes);
      for (const { metadata } of items)
        await cluster.client.patch(resources.nodes, { name: metadata.name }, { type: 'merge', body: { metadata: { labels: places } } });
    }
  }

  #assertForeignUntouched(cluster: string, state: ClusterState): void {
    const now = new Map([...state.serviceEntries, ...state.workloadEntries].map((entry) => [`${cluster} ${nameOf(entry)}`, wanted(entry)]));
    for (const [name, before] of this.#foreign) {
      if (name.startsWith(`${cluster} `)) assert.equal(now.get(name), before, `${name} is somebody else's and was touched`);
    }
  }
}

function applicationOf(state: ClusterState): readonly ExportedPod[] {
  return exportedServices(state).find(({ namespace, name }) => namespace === applicationNamespace && name === applicationName)?.pods ?? [];
}

function nameOf({ kind, metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
}

function incarnation(object: KubeObject): string {
  return `${nameOf(object)} ${object.metadata.uid ?? ''} ${object.metadata.resourceVersion ?? ''}`;
}

/** What its maker wants of an object: istiod notes the address that a ServiceEntry got in its status. */
function wanted(object: KubeObject & { readonly spec?: unknown }): string {
  const { uid, labels: marks, annotations } = object.metadata;
  return JSON.stringify({ uid, marks, annotations, spec: object.spec });
}

import type { DesiredEntries } from './desired-entries.ts';
import { missingNamespaceAdvice } from './tell-findings.ts';
import type { Refusal } from './validate.ts';

/** What of a peer's services and workloads was believed, and has no entries all the same. By cluster id of the peer. */
export class PeerFindings {
  readonly #desired: Pick<DesiredEntries, 'missingNamespaces' | 'refusals'>;
  readonly #refused = new Map<string, Map<string, Refusal>>();

  constructor(desired: Pick<DesiredEntries, 'missingNamespaces' | 'refusals'>) {
    this.#desired = desired;
  }

  /** Begins to follow them; `onChange` hears that some changed. Returns the way to stop it. */
  follow(onChange: () => void): () => void {
    const { missingNamespaces, refusals } = this.#desired;
    const stops = [
      missingNamespaces.subscribe(() => onChange()),
      refusals.subscribe((changes) => {
        for (const { key, after } of changes) {
          const cluster = key.slice(0, key.indexOf('|'));
          const workload = key.slice(cluster.length + 1);
          const ofPeer = this.#refused.get(cluster) ?? new Map<string, Refusal>();
          if (after === undefined) ofPeer.delete(workload);
          else ofPeer.set(workload, after);
          if (ofPeer.size === 0) this.#refused.delete(cluster);
          else this.#refused.set(cluster, ofPeer);
        }
        onChange();
      }),
    ];
    return () => {
      for (const stop of stops) stop();
      this.#refused.clear();
    };
  }

  /** Workloads whose entries would be wrong, by uid. */
  refused(cluster: string | undefined): ReadonlyMap<string, Refusal> {
    return (cluster === undefined ? undefined : this.#refused.get(cluster)) ?? new Map<string, Refusal>();
  }

  /** What to do about the namespaces that its services wait for; undefined: they wait for none. */
  namespaces(cluster: string | undefined): string | undefined {
    const missing = [...this.#desired.missingNamespaces.values()].filter(({ peers }) => cluster !== undefined && peers.includes(cluster));
    if (missing.length === 0) return undefined;
    return missing
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(missingNamespaceAdvice)
      .join('; ');
  }
}

import type { Workload } from '../api/gen/istio/workload_pb.js';
import type { Collection, Fetch, Graph } from '../collections/index.ts';
import { SelectorIndex } from '../mesh/index.ts';
import { flatPorts, mayCarry } from './entries.ts';
import type { GlobalService } from './global-services.ts';
import type { LocalService } from './local-services.ts';
import type { Refusal } from './validate.ts';

/** The API's limit of a WorkloadEntry's ports. */
const maxEntryPorts = 128;

/**
 * Which ServiceEntries select an entry by the labels of a Service's selector. Two Services of one namespace may select by the same labels, or
 * one by fewer of them: then the entry of a pod for the one is an endpoint of the other as well. That is right for a pod that serves both in its own
 * cluster, and wrong for any other.
 */
export class LocalSelectors {
  readonly #index: SelectorIndex<LocalService>;

  constructor(graph: Graph, local: Collection<LocalService>) {
    this.#index = new SelectorIndex(graph, local, { name: 'peeringLocalSelectors', namespaceOf: ({ namespace }) => namespace });
  }

  /** Why a workload's entry for a service would be wrong for another one, by all `labels` that it carries; undefined when it would not. */
  strangerTo(
    workload: Workload,
    service: { readonly namespace: string; readonly name: string; readonly labels: Readonly<Record<string, string>> },
    served: readonly GlobalService[],
    fetch: Fetch,
  ): Refusal | undefined {
    const { namespace, name, labels } = service;
    const others = this.#index.selecting(fetch, namespace, labels).filter((other) => other.name !== name && mayCarry(other.selector));
    const stranger = others.find((other) => {
      const global = served.find((one) => one.name === other.name && one.namespace === namespace);
      return global === undefined || Object.keys(flatPorts(workload, global)).length < global.ports.length;
    });
    if (stranger === undefined) return undefined;
    const message =
      `it serves ${namespace}/${name} and not, with all its ports, ${namespace}/${stranger.name}, ` +
      'whose selector here takes in the labels of its entry';
    return { code: 'PEERING_SELECTOR', message };
  }
}

/** A service's ports on an entry with those of the workload's other services, as far as the API allows so many. */
export function sharedPorts(
  workload: Workload,
  own: Readonly<Record<string, number>>,
  served: readonly GlobalService[],
): Readonly<Record<string, number>> {
  const all = { ...Object.assign({}, ...served.map((service) => flatPorts(workload, service))), ...own } as Record<string, number>;
  return Object.keys(all).length > maxEntryPorts ? own : all;
}

import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { matches } from '../mesh/index.ts';

type Labels = Readonly<Record<string, string>>;

/**
 * The steps by which the entries of one service change together, so that no endpoint drops out in between, nor gets connections on a port that
 * it does not name. Objects are written one by one: what a ServiceEntry is to select by stands on the WorkloadEntries first, and leaves them
 * last; likewise the ports.
 */

/**
 * What to write of a ServiceEntry now. `waits`: it is not all yet, and to be looked at again when an entry of `endpoints` changes.
 *
 * @param endpoints The WorkloadEntries of the service that are to stay, as they are.
 */
export function nextServiceEntry(
  desired: ServiceEntry,
  actual: ServiceEntry | undefined,
  endpoints: Iterable<WorkloadEntry>,
): { readonly entry: ServiceEntry; readonly waits: boolean } {
  const current = actual?.spec.workloadSelector?.labels;
  if (actual === undefined || current === undefined) return { entry: desired, waits: false };
  const wanted = desired.spec.workloadSelector?.labels ?? {};
  const known = new Set((actual.spec.ports ?? []).map(({ name }) => name));
  const added = new Set((desired.spec.ports ?? []).map(({ name }) => name).filter((name) => !known.has(name)));
  let isSelected = true;
  for (const { metadata, spec } of endpoints) {
    // A peer's gateway that nothing is to go through.
    if (metadata.labels?.[labels.federatedService] === undefined) continue;
    if (!matches(wanted, metadata.labels)) isSelected = false;
    if (spec.address !== undefined) for (const name of added) if (spec.ports?.[name] === undefined) added.delete(name);
  }
  const missing = (desired.spec.ports ?? []).filter(({ name }) => !known.has(name) && !added.has(name));
  const waits = !isSelected || missing.length > 0;
  if (!waits) return { entry: desired, waits };
  const ports = (desired.spec.ports ?? []).filter((port) => !missing.includes(port));
  const selector = isSelected ? wanted : canCarryBoth(current, wanted) ? current : ownSelector(desired);
  return {
    waits,
    entry: {
      ...desired,
      spec: {
        ...desired.spec,
        // A ServiceEntry without ports would be nobody's.
        ports: ports.length > 0 ? ports : (actual.spec.ports ?? []),
        workloadSelector: { labels: { ...selector } },
      },
    },
  };
}

/** What to write of a WorkloadEntry now, while the ServiceEntry is as it is. */
export function nextWorkloadEntry(
  desired: WorkloadEntry,
  actual: WorkloadEntry | undefined,
  service: ServiceEntry | undefined,
): WorkloadEntry {
  const wanted = desired.metadata.labels ?? {};
  const current = service?.spec.workloadSelector?.labels;
  // Who selects by the hash selects it anyway.
  if (service === undefined || current === undefined || wanted[labels.federatedService] === undefined) return desired;
  const ports = desired.spec.ports ?? {};
  const listed = (service.spec.ports ?? []).flatMap(({ name }): [string, number][] => {
    const number = actual?.spec.ports?.[name];
    return number === undefined || ports[name] !== undefined ? [] : [[name, number]];
  });
  return {
    ...desired,
    metadata: { ...desired.metadata, labels: { ...wanted, ...current } },
    ...(listed.length > 0 && { spec: { ...desired.spec, ports: { ...ports, ...Object.fromEntries(listed) } } }),
  };
}

/** Whether the ServiceEntry's change concerns its WorkloadEntries. */
export function changesEndpoints(before: ServiceEntry | undefined, after: ServiceEntry | undefined): boolean {
  const of = (entry: ServiceEntry | undefined): string =>
    JSON.stringify([entry?.spec.workloadSelector?.labels, (entry?.spec.ports ?? []).map(({ name }) => name)]);
  return of(before) !== of(after);
}

/** All entries of a service carry its hash, whatever else they do. */
function ownSelector({ metadata }: ServiceEntry): Labels {
  return { [labels.federatedService]: metadata.labels?.[labels.federatedService] ?? '' };
}

function canCarryBoth(a: Labels, b: Labels): boolean {
  return Object.entries(a).every(([label, value]) => b[label] === undefined || b[label] === value);
}

import { readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import path from 'node:path';

import { IsthmusError } from '../core/index.ts';
import { NetworkNamespace } from '../linux/index.ts';

/**
 * Finds the network namespace of a running pod by its address among the namespaces that the container runtime has named
 * (containerd and CRI-O: /var/run/netns). That needs neither the host's processes nor its cgroups.
 */
export class PodNamespaces {
  readonly #folder: string;
  /** Where an address was seen last; verified before it is believed. */
  readonly #lastSeen = new Map<string, string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The namespace that has one of the addresses, opened for the caller. CNI_POD_NAMESPACE_NOT_FOUND when there is none. */
  find(addresses: readonly string[]): NetworkNamespace {
    const [first] = addresses;
    const known = first === undefined ? undefined : this.#lastSeen.get(first);
    const candidate = known === undefined ? undefined : openIfOwner(known, addresses);
    if (candidate !== undefined) return candidate;
    this.#scan();
    for (const address of addresses) {
      const found = this.#lastSeen.get(address);
      const namespace = found === undefined ? undefined : openIfOwner(found, addresses);
      if (namespace !== undefined) return namespace;
    }
    throw new IsthmusError('CNI_POD_NAMESPACE_NOT_FOUND', `no network namespace in ${this.#folder} has address ${addresses.join(' or ')}`, {
      hint: `is ${this.#folder} of the node mounted with propagation HostToContainer?`,
    });
  }

  #scan(): void {
    this.#lastSeen.clear();
    for (const file of listFolder(this.#folder)) {
      using namespace = openNamespace(path.join(this.#folder, file));
      if (namespace === undefined || namespace.equals(NetworkNamespace.current())) continue;
      for (const address of addressesIn(namespace)) this.#lastSeen.set(address, namespace.name);
    }
  }
}

function listFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** undefined for what is no namespace (any more): runtimes leave empty files when a mount is gone. */
function openNamespace(file: string): NetworkNamespace | undefined {
  try {
    return NetworkNamespace.open(file);
  } catch {
    return undefined;
  }
}

function openIfOwner(file: string, addresses: readonly string[]): NetworkNamespace | undefined {
  const namespace = openNamespace(file);
  if (namespace === undefined) return undefined;
  const owned = addressesIn(namespace);
  if (addresses.some((address) => owned.has(address))) return namespace;
  namespace[Symbol.dispose]();
  return undefined;
}

function addressesIn(namespace: NetworkNamespace): ReadonlySet<string> {
  const found = new Set<string>();
  for (const addresses of Object.values(namespace.runInside(networkInterfaces))) {
    for (const { address, internal } of addresses ?? []) if (!internal) found.add(address);
  }
  return found;
}

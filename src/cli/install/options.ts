import { IsthmusError } from '../../core/index.ts';

/** What `isthmus install` is told, and every manifest is made from. */
export interface InstallOptions {
  /** Cluster id, unique in the mesh. */
  readonly clusterId: string;
  /** Equal in all clusters of a flat network. */
  readonly network: string;
  readonly trustDomain: string;
  /** Image of istiod, ztunnel, the CNI agent and the gateways. */
  readonly image: string;
  /** Programs of the node that pods run instead of the image's; for the lab. */
  readonly programs?: NodePrograms;
}

/** Absolute paths on the node of Istio's own, unmodified programs. */
export interface NodePrograms {
  /** pilot-discovery. */
  readonly istiod?: string;
  readonly ztunnel?: string;
}

/** A cluster id becomes part of object names and label values, so it has to be a DNS label. */
export function isClusterId(id: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(id);
}

/** The parts of an installation; `base` is the custom resource definitions and the namespace. */
export const components = ['base', 'istiod', 'cni', 'ztunnel', 'peering'] as const;
export type Component = (typeof components)[number];

/** Reads a list like `istiod,cni`. Throws ISTHMUS_USAGE for a component that there is not. */
export function parseComponents(names: readonly string[]): ReadonlySet<Component> {
  return new Set(
    names.map((name) => {
      const found = components.find((component) => component === name);
      if (found !== undefined) return found;
      throw new IsthmusError('ISTHMUS_USAGE', `there is no component "${name}"`, { hint: `components: ${components.join(', ')}` });
    }),
  );
}

/**
 * What is installed when nobody says what: everything. Our istiod has peering in it; beside Istio's own it is a component of
 * its own.
 */
export function defaultComponents(programs: NodePrograms = {}): ReadonlySet<Component> {
  return new Set(components.filter((component) => component !== 'peering' || programs.istiod !== undefined));
}

/** Label of everything that install makes, by which uninstall finds it again. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'isthmus' } as const;
export const managedBySelector = 'app.kubernetes.io/managed-by=isthmus';

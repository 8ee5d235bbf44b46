/** What `isthmus install` is told, and every manifest is made from. */
export interface InstallOptions {
  /** Cluster id, unique in the mesh. */
  readonly clusterId: string;
  /** Equal in all clusters of a flat network. */
  readonly network: string;
  readonly trustDomain: string;
  /** Image of istiod, ztunnel, the CNI agent and the gateways. */
  readonly image: string;
}

/** Label of everything that install makes, by which uninstall finds it again. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'isthmus' } as const;
export const managedBySelector = 'app.kubernetes.io/managed-by=isthmus';

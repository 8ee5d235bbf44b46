/**
 * Which names of services a queried name may mean, for a client in a namespace. Names are in lower case and without the
 * dot at the end.
 */
export interface Alias {
  /** To be looked for among the services' hostnames. */
  readonly name: string;
  /** Set when a search domain was stripped from the query: what remained. */
  readonly stripped: string | undefined;
}

/** `10.1.2.3`-like names are never services; everything else may be. */
export interface AliasOptions {
  readonly namespace: string;
  /** For example `cluster.local`. */
  readonly clusterDomain: string;
}

/**
 * Candidates in the order in which they are tried: the name, what Kubernetes would make of it, and the same without each of
 * the search domains of a pod. (The resolver in the pod appends search domains to names with few dots before it tries
 * them as they are: `shop.demo.mesh.internal` first comes as `shop.demo.mesh.internal.demo.svc.cluster.local`.)
 */
export function aliasesOf(query: string, options: AliasOptions): readonly Alias[] {
  const { namespace, clusterDomain } = options;
  const found = new Map<string, Alias>();
  const add = (name: string, stripped?: string): void => {
    if (!found.has(name)) found.set(name, { name, stripped });
  };
  add(query);
  for (const name of expansions(query, options)) add(name);
  for (const domain of [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain]) {
    if (!query.endsWith(`.${domain}`)) continue;
    const stripped = query.slice(0, -domain.length - 1);
    add(stripped, stripped);
    for (const name of expansions(stripped, options)) add(name, stripped);
  }
  return [...found.values()];
}

/** The full names that Kubernetes gives to what a client abbreviates so: services, and pods with a hostname. */
function expansions(name: string, { namespace, clusterDomain }: AliasOptions): readonly string[] {
  const labels = name.split('.');
  const inNamespace = `${name}.${namespace}.svc.${clusterDomain}`;
  const inServices = `${name}.svc.${clusterDomain}`;
  const inCluster = `${name}.${clusterDomain}`;
  const endsInSvc = labels.at(-1) === 'svc';
  switch (labels.length) {
    case 1:
      return [inNamespace];
    case 2:
      return [inServices, inNamespace];
    case 3:
      return endsInSvc ? [inCluster, inServices] : [inServices];
    case 4:
      return endsInSvc ? [inCluster] : [];
    default:
      return [];
  }
}

/** The name, then the wildcards that cover it, from the most specific: `*.b.c`, `*.c`. */
export function withWildcards(name: string): readonly string[] {
  const labels = name.split('.');
  return [name, ...labels.slice(1).map((_, index) => ['*', ...labels.slice(index + 1)].join('.'))];
}

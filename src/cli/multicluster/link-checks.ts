import type { Gateway } from '../../api/kubernetes.ts';
import { conditionTypes, labels } from '../../api/names.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { isProgrammed } from './expose.ts';
import { finding, type CheckLine, type Finding } from './findings.ts';
import { AddressRanges } from '../../peering/index.ts';
import { isPeered, readPeerState, type PeerState } from './peer-state.ts';

/** The clusters that are checked together with one. */
export interface Neighbours {
  readonly all: readonly ClusterFacts[];
  /** Those named before it. What two clusters do not agree on is found at the later one alone, so that only one of them gets changed. */
  readonly earlier: readonly ClusterFacts[];
}

/** Where gateways are put when nobody says otherwise. */
export const gatewayNamespace = 'istio-eastwest';

/** The cluster's own gateways, through which peers reach its control plane. */
export function checkGateways({ context, eastWest, namespaces }: ClusterFacts): CheckLine {
  const check = 'Gateway Check';
  const details = eastWest.map(
    (gateway) =>
      `${nameOf(gateway)}: Programmed ${isProgrammed(gateway) ? 'True' : 'False'}, ${gateway.status?.addresses?.map(({ value }) => value).join(', ') ?? 'no address'}`,
  );
  const line = { check, details, isExtra: false };
  if (eastWest.length === 0) {
    const cause = 'no configured eastwest gateways: no peer can import from this cluster, unless it reaches the control plane straight';
    const create = namespaces.has(gatewayNamespace) ? '' : `kubectl --context ${context} create namespace ${gatewayNamespace} && `;
    const command = `${create}isthmus multicluster expose --context ${context} --namespace ${gatewayNamespace}`;
    return { ...line, message: 'no configured eastwest gateways', findings: [finding('CHECK_EASTWEST_MISSING', cause, command)] };
  }
  const findings = eastWest
    .filter((gateway) => !isProgrammed(gateway))
    .map((gateway) => {
      const condition = gateway.status?.conditions?.find(({ type }) => type === 'Programmed');
      const cause = `Gateway ${nameOf(gateway)} is not programmed: ${condition?.message ?? 'nothing has taken it up'}`;
      const { name, namespace = '' } = gateway.metadata;
      return finding('CHECK_EASTWEST_NOT_PROGRAMMED', cause, `kubectl --context ${context} -n ${namespace} describe gateway ${name}`);
    });
  const message = findings.length === 0 ? 'all eastwest gateways programmed' : 'found eastwest gateway(s) that are not programmed';
  return { ...line, message, findings };
}

/** The links, as peering has noted on their Gateways. */
export function checkPeers(facts: ClusterFacts, { all: others }: Neighbours): CheckLine {
  const { context, remote } = facts;
  const check = 'Peers Check';
  const peers = remote.flatMap((gateway) => readPeerState(gateway) ?? []);
  const details = peers.flatMap((peer) => [
    `Cluster: ${peer.cluster}`,
    ...[conditionTypes.peerConnected, conditionTypes.peeringSucceeded].map((type) => {
      const state = type === conditionTypes.peerConnected ? peer.connected : peer.synced;
      return `${type}: ${state?.status ?? 'Unknown'}${state === undefined || state.status === 'True' ? '' : ` (${state.reason}: ${state.message})`}`;
    }),
    ...(isPeered(peer) ? [`Connected to ${peer.cluster}`] : []),
  ]);
  const line = { check, details, isExtra: false };
  if (peers.length === 0) {
    const cause = 'no configured peers: nothing is imported into this cluster';
    const contexts = [context, ...others.map((other) => other.context)].join(',');
    const namespace = facts.eastWest[0]?.metadata.namespace ?? gatewayNamespace;
    const command = `isthmus multicluster link --contexts ${others.length > 0 ? contexts : `${context},<peer's context>`} --namespace ${namespace}`;
    return { ...line, message: 'no configured peers', findings: [finding('CHECK_PEERS_MISSING', cause, command)] };
  }
  const findings = peers.flatMap((peer) => judgePeer(peer, facts, others));
  const isConnected = peers.every(isPeered);
  const message = isConnected
    ? findings.length === 0
      ? 'all clusters connected'
      : 'all clusters connected, with findings'
    : 'found disconnected cluster(s)';
  return { ...line, message, findings };
}

/** What a TLS stack says of a certificate whose root it does not have. */
const foreignRoot = /self[- ]signed certificate|unable to (get (local )?issuer|verify the first) certificate|unknown ca|unable to verify/i;

function judgePeer(peer: PeerState, facts: ClusterFacts, others: readonly ClusterFacts[]): Finding[] {
  const { connected, synced, accepted, cluster, key } = peer;
  const { name, namespace = '' } = peer.gateway.metadata;
  const context = facts.context;
  const other = others.find((one) => one.mesh.clusterId === cluster);
  const describe = `kubectl --context ${context} -n ${namespace} describe gateway ${name}`;
  const relink = `isthmus multicluster link --contexts ${context},${other?.context ?? `<context of ${cluster}>`} --namespace ${namespace}`;
  if (connected?.status !== 'True') {
    const said = connected === undefined ? 'nothing has taken the link up' : `${connected.reason}: ${connected.message}`;
    if (connected?.reason === 'PEERING_PIN_MISMATCH') {
      return [
        finding('CHECK_PIN_DIFFERS', `${key}: ${cluster} is signed by another CA than the one that the link names (${said})`, relink),
      ];
    }
    if (foreignRoot.test(said)) {
      const cause = `${key}: ${cluster} presents a certificate of a root that this cluster does not trust (${said})`;
      return [finding('CHECK_ROOTS_DIFFER', cause, sharedRoot(facts, other))];
    }
    const isWrongLink = ['PEERING_GATEWAY_INVALID', 'PEERING_IDENTITY'].includes(connected?.reason ?? '');
    return [finding('CHECK_PEER_NOT_CONNECTED', `${key}: not connected to ${cluster} (${said})`, isWrongLink ? relink : describe)];
  }
  if (synced?.status !== 'True') {
    const said = synced === undefined ? 'its state is not in yet' : `${synced.reason}: ${synced.message}`;
    if (synced?.reason === 'PEERING_RANGE_OVERLAP')
      return [finding('CHECK_POD_RANGES_OVERLAP', `${key}: ${synced.message}`, showRanges(context))];
    return [finding('CHECK_PEER_NOT_SYNCED', `${key}: nothing of ${cluster} is imported (${said})`, describe)];
  }
  if (accepted?.status === 'False') {
    return [
      finding('CHECK_PEER_PARTLY_REFUSED', `${key}: not all of ${cluster} is imported (${accepted.reason}: ${accepted.message})`, describe),
    ];
  }
  return [];
}

/** Whether certificates of one cluster are believed in the others, and tell which cluster they are from. */
export function checkCertificates(facts: ClusterFacts, { all, earlier }: Neighbours): CheckLine {
  const { context, mesh, roots, authority, remote } = facts;
  const findings: Finding[] = [];
  for (const other of earlier) {
    const isShared = roots.some((root) => other.roots.includes(root));
    if (roots.length > 0 && other.roots.length > 0 && !isShared) {
      const cause = `no root is trusted in ${context} and in ${other.context}: ${short(roots)} here, ${short(other.roots)} there`;
      findings.push(finding('CHECK_ROOTS_DIFFER', cause, sharedRoot(facts, other)));
    }
    if (authority !== undefined && authority.sha256 === other.authority?.sha256) {
      const cause = `one CA (${authority.sha256.slice(0, 16)}…) signs the certificates of ${context} and of ${other.context}, which can pass for each other`;
      findings.push(finding('CHECK_INTERMEDIATES_EQUAL', cause, newIntermediate(facts)));
    }
    if (mesh.trustDomain !== other.mesh.trustDomain) {
      const cause = `the trust domain of ${context} is ${mesh.trustDomain}, that of ${other.context} is ${other.mesh.trustDomain}`;
      findings.push(finding('CHECK_TRUST_DOMAINS_DIFFER', cause, setTrustDomain(facts, other.mesh.trustDomain)));
    }
  }
  for (const peer of remote.flatMap((gateway) => readPeerState(gateway) ?? [])) {
    const other = all.find((one) => one.mesh.clusterId === peer.cluster);
    const theirs = other?.authority?.sha256;
    if (other === undefined || theirs === undefined || peer.pins.length === 0 || peer.pins.includes(theirs)) continue;
    const cause = `${peer.key} believes the CA ${peer.pins.map((pin) => `${pin.slice(0, 16)}…`).join(', ')}, but ${other.context} is signed by ${theirs.slice(0, 16)}…`;
    const namespace = peer.gateway.metadata.namespace ?? '';
    findings.push(
      finding('CHECK_PIN_DIFFERS', cause, `isthmus multicluster link --contexts ${context},${other.context} --namespace ${namespace}`),
    );
  }
  const details = [
    ...roots.map((root) => `root ${root}`),
    authority === undefined
      ? 'the signing CA cannot be read'
      : `signing CA ${authority.sha256} (Secret ${authority.secret}${authority.isSelfSigned ? ', its own root' : ''})`,
    `trust domain ${mesh.trustDomain}`,
  ];
  const message = findings.length === 0 ? 'certificates fit those of the peers' : 'found certificates that do not fit';
  return { check: 'Intermediate Certs Compatibility Check', message, details, findings, isExtra: true };
}

/** What the cluster and its network are called, and which addresses its pods have. */
export function checkNetwork(facts: ClusterFacts, neighbours: Neighbours): CheckLine {
  const { earlier } = neighbours;
  const findings = [...judgeClusterId(facts, earlier), ...judgeNetwork(facts, neighbours), ...judgeRanges(facts, earlier)];
  const ranges = podRanges(facts);
  const details = [
    `cluster id ${facts.mesh.clusterId}`,
    `network ${facts.mesh.network ?? 'not set'}`,
    `pod ranges ${ranges.length === 0 ? 'unknown' : ranges.join(', ')}`,
  ];
  const message = findings.length === 0 ? 'cluster id, network and pod ranges fit' : 'found names or ranges that do not fit';
  return { check: 'Network Configuration Check', message, details, findings, isExtra: true };
}

function judgeClusterId(facts: ClusterFacts, earlier: readonly ClusterFacts[]): Finding[] {
  const { mesh, context, remote } = facts;
  const id = mesh.clusterId;
  const findings: Finding[] = [];
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(id)) {
    const cause = `"${id}" cannot be a cluster id of peering: only lower-case letters, digits and -, at most 63`;
    findings.push(finding('CHECK_CLUSTER_ID_INVALID', cause, setClusterId(facts)));
  }
  for (const other of earlier.filter(({ mesh: theirs }) => theirs.clusterId === id)) {
    const cause = `${context} and ${other.context} have the same cluster id "${id}"`;
    findings.push(finding('CHECK_CLUSTER_IDS_EQUAL', cause, setClusterId(facts)));
  }
  for (const gateway of remote.filter(({ metadata }) => metadata.labels?.[labels.cluster] === id)) {
    const cause = `Gateway ${nameOf(gateway)} links to "${id}", which is this cluster's own id`;
    const { name, namespace = '' } = gateway.metadata;
    findings.push(finding('CHECK_CLUSTER_IDS_EQUAL', cause, `kubectl --context ${context} -n ${namespace} delete gateway ${name}`));
  }
  return findings;
}

function judgeNetwork(facts: ClusterFacts, { all, earlier }: Neighbours): Finding[] {
  const { mesh, context, remote, eastWest } = facts;
  const { istiod, network, ztunnels } = mesh;
  const ztunnelNetwork = ztunnels.map(({ env }) => env.get('NETWORK')).find((name) => name !== undefined && name !== '');
  const networkOf = (clusters: readonly ClusterFacts[]) => clusters.map((other) => other.mesh.network).find((name) => name !== undefined);
  const named = networkOf(earlier);
  const setLabel = (name: string): string =>
    `kubectl --context ${context} label namespace ${istiod.namespace} ${labels.network}=${name} --overwrite`;
  if (network === undefined) {
    const cause = `namespace ${istiod.namespace} has no label ${labels.network}: nobody knows which network the cluster is in`;
    return [finding('CHECK_NETWORK_UNSET', cause, setLabel(networkOf(all) ?? ztunnelNetwork ?? 'flat-network'))];
  }
  const findings: Finding[] = [];
  if (named !== undefined && named !== network) {
    const cause = `the network of ${context} is ${network}, that of ${earlier[0]?.context ?? ''} is ${named}: a flat network has one name`;
    findings.push(finding('CHECK_NETWORKS_DIFFER', cause, setLabel(named)));
  }
  for (const { namespace, name, env } of ztunnels) {
    const theirs = env.get('NETWORK') ?? '';
    if (theirs === network) continue;
    const cause = `ztunnel ${namespace}/${name} is in network "${theirs}", the cluster is in "${network}"`;
    findings.push(
      finding('CHECK_NETWORKS_DIFFER', cause, `kubectl --context ${context} -n ${namespace} set env daemonset/${name} NETWORK=${network}`),
    );
  }
  for (const gateway of eastWest) {
    const theirs = gateway.metadata.labels?.[labels.network];
    if (theirs === undefined || theirs === network) continue;
    const cause = `eastwest gateway ${nameOf(gateway)} has network ${theirs} but cluster network is ${network}`;
    const command = `isthmus multicluster expose --context ${context} --namespace ${gateway.metadata.namespace ?? ''}`;
    findings.push(finding('CHECK_NETWORKS_DIFFER', cause, command));
  }
  for (const peer of remote.flatMap((gateway) => readPeerState(gateway) ?? [])) {
    if (peer.network === undefined || peer.network === network) continue;
    const other = all.find((one) => one.mesh.clusterId === peer.cluster)?.context ?? `<context of ${peer.cluster}>`;
    const cause = `${peer.key} says that ${peer.cluster} is in network ${peer.network}, this cluster is in ${network}: its pods are not reached by their addresses`;
    const command = `isthmus multicluster link --contexts ${context},${other} --namespace ${peer.gateway.metadata.namespace ?? ''}`;
    findings.push(finding('CHECK_NETWORKS_DIFFER', cause, command));
  }
  return findings;
}

function judgeRanges(facts: ClusterFacts, earlier: readonly ClusterFacts[]): Finding[] {
  const ours = AddressRanges.parse(podRanges(facts));
  return earlier.flatMap((other) => {
    const theirs = AddressRanges.parse(podRanges(other));
    const shared = theirs === undefined ? undefined : ours?.overlap(theirs);
    if (shared === undefined || facts.mesh.network !== other.mesh.network) return [];
    const cause = `pods of ${facts.context} (${shared[0]}) and of ${other.context} (${shared[1]}) may have the same addresses`;
    return [finding('CHECK_POD_RANGES_OVERLAP', cause, showRanges(facts.context))];
  });
}

/** What isthmus-peering was told, else those of the nodes. */
function podRanges({ mesh, nodes }: ClusterFacts): readonly string[] {
  const told = mesh.istiod.isIsthmus ? undefined : mesh.peering?.env.get('POD_CIDRS');
  if (told !== undefined && told !== '') return told.split(',').map((range) => range.trim());
  return [...new Set(nodes.flatMap(({ spec }) => spec?.podCIDRs ?? spec?.podCIDR ?? []))].sort();
}

function showRanges(context: string): string {
  return `kubectl --context ${context} get nodes -o custom-columns=NODE:.metadata.name,PODS:.spec.podCIDRs`;
}

/** For a cluster of our own, and for one whose istiod and ztunnel must agree on the id, since istiod refuses others. */
function setClusterId({ context, mesh }: ClusterFacts): string {
  const { istiod, ztunnels, peering } = mesh;
  const id = context
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  if (istiod.isIsthmus) return `isthmus install --context ${context} --cluster ${id}`;
  const set = (namespace: string, workload: string, name: string): string =>
    `kubectl --context ${context} -n ${namespace} set env ${workload} ${name}=${id}`;
  return [
    set(istiod.namespace, `deployment/${istiod.name}`, 'CLUSTER_ID'),
    ...ztunnels.map(({ namespace, name }) => set(namespace, `daemonset/${name}`, 'ISTIO_META_CLUSTER_ID')),
    ...(peering === undefined ? [] : [set(peering.namespace, `deployment/${peering.name}`, 'CLUSTER_ID')]),
  ].join(' && ');
}

function setTrustDomain({ context, mesh }: ClusterFacts, trustDomain: string): string {
  const { istiod, clusterId, network } = mesh;
  if (istiod.isIsthmus)
    return `isthmus install --context ${context} --cluster ${clusterId} --network ${network ?? 'flat-network'} --trust-domain ${trustDomain}`;
  const release = istiod.object.metadata.annotations?.['meta.helm.sh/release-name'];
  if (release === undefined)
    return `istioctl install --context ${context} -i ${istiod.namespace} --set meshConfig.trustDomain=${trustDomain}`;
  return `helm upgrade ${release} istio/istiod --kube-context ${context} -n ${istiod.namespace} --reset-then-reuse-values --set meshConfig.trustDomain=${trustDomain}`;
}

/** Intermediates of one root for both clusters, of the one that is there already if there is one; istiod takes up another root only at its start. */
function sharedRoot(here: ClusterFacts, there: ClusterFacts | undefined): string {
  const both = [here, ...(there === undefined ? [] : [there])];
  return `isthmus ca create-root; ${both.map((facts) => newIntermediate(facts, '--force')).join(' && ')}`;
}

function newIntermediate({ context, mesh }: ClusterFacts, flag = '--renew'): string {
  const { namespace, name } = mesh.istiod;
  const issue = `isthmus ca issue-intermediate --cluster ${mesh.clusterId} --context ${context} -i ${namespace} ${flag}`;
  return `${issue} && kubectl --context ${context} -n ${namespace} rollout restart deployment/${name}`;
}

function short(fingerprints: readonly string[]): string {
  return fingerprints.map((fingerprint) => `${fingerprint.slice(0, 16)}…`).join(', ');
}

function nameOf({ metadata }: Gateway): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

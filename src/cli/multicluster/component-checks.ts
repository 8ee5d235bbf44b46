import type { Deployment, Pod } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { finding, type CheckLine, type Finding } from './findings.ts';
import { peeringName, type Component } from './find-istio.ts';

/**
 * The first Istio that is good enough. 1.24 is the release in which ambient became stable; before it ztunnel and istiod lack parts
 * of what entries need.
 */
const oldest: Version = [1, 24];
/** The first Istio that gives ServiceEntries addresses without being told to (PILOT_ENABLE_IP_AUTOALLOCATE). */
const allocatesByDefault: Version = [1, 25];

type Version = readonly [major: number, minor: number];

/** istiod's environment: what peering needs beside an Istio of others. Ours needs nothing set. */
export function checkEnvironment({ context, mesh, istiodVersion, globalServices }: ClusterFacts): CheckLine {
  const { istiod } = mesh;
  const check = 'Incompatible Environment Variable Check';
  const settings = ['PILOT_ENABLE_AMBIENT', 'PILOT_ENABLE_IP_AUTOALLOCATE', 'PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES'];
  const details = settings.map((name) => `${name} is "${istiod.env.get(name) ?? ''}"`);
  if (istiod.isIsthmus) return { check, message: 'not needed by this istiod', details: [], findings: [], isExtra: true };
  const where = `istiod ${istiod.namespace}/${istiod.name}`;
  const set = (assignment: string): string =>
    `kubectl --context ${context} -n ${istiod.namespace} set env deployment/${istiod.name} ${assignment}`;
  const findings: Finding[] = [];
  if (!isTrue(istiod.env.get('PILOT_ENABLE_AMBIENT'), false)) {
    const cause = `${where} runs without ambient mode: PILOT_ENABLE_AMBIENT is not true`;
    findings.push(finding('CHECK_AMBIENT_OFF', cause, set('PILOT_ENABLE_AMBIENT=true')));
  }
  const allocates = istiodVersion === undefined || isAtLeast(istiodVersion, allocatesByDefault);
  if (!isTrue(istiod.env.get('PILOT_ENABLE_IP_AUTOALLOCATE'), allocates)) {
    const cause = `${where} gives ServiceEntries no addresses, so that global names do not resolve: PILOT_ENABLE_IP_AUTOALLOCATE is ${allocates ? 'false' : 'not true'}`;
    findings.push(finding('CHECK_VIP_ALLOCATION_OFF', cause, set('PILOT_ENABLE_IP_AUTOALLOCATE=true')));
  }
  const [first] = globalServices;
  if (first !== undefined && isTrue(istiod.env.get('PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES'), true)) {
    const { name, namespace = '' } = first.service.metadata;
    const cause = `the local name ${name}.${namespace}.svc reaches other clusters too, and so does that of each global Service: ${where} lets Services select WorkloadEntries`;
    findings.push(finding('CHECK_LOCAL_NAME_SPREADS', cause, set('PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES=false')));
  }
  const message = findings.length === 0 ? 'all relevant environment variables are valid' : 'found incompatible environment variables';
  return { check, message, details, findings, isExtra: true };
}

/** None is needed; the guide's first line. */
export function checkLicense(): CheckLine {
  const message = 'license is valid for multicluster (none is needed)';
  return { check: 'License Check', message, details: [], findings: [], isExtra: false };
}

/** Releases of istiod and ztunnel, as far as they are known. */
export function checkVersions({ context, mesh, istiodVersion }: ClusterFacts): CheckLine {
  const { istiod, ztunnels } = mesh;
  const needed = oldest.join('.');
  const findings: Finding[] = [];
  if (istiodVersion !== undefined && !isAtLeast(istiodVersion, oldest)) {
    const cause = `istiod ${istiod.namespace}/${istiod.name} is Istio ${istiodVersion}, needed is ${needed} or newer`;
    findings.push(
      finding('CHECK_ISTIOD_TOO_OLD', cause, upgradeOf('istiod', istiod.object.metadata, { context, namespace: istiod.namespace })),
    );
  }
  for (const { object, namespace, name, version } of ztunnels) {
    if (version === undefined || isAtLeast(version, oldest)) continue;
    const cause = `ztunnel ${namespace}/${name} is of Istio ${version}, needed is ${needed} or newer`;
    findings.push(finding('CHECK_ZTUNNEL_TOO_OLD', cause, upgradeOf('ztunnel', object.metadata, { context, namespace })));
  }
  const details = [
    `istiod ${istiod.namespace}/${istiod.name}: ${istiod.isIsthmus ? 'Isthmus' : (istiodVersion ?? 'unknown')}, revision ${istiod.revision}`,
    ...ztunnels.map(({ namespace, name, version }) => `ztunnel ${namespace}/${name}: ${version ?? 'unknown'}`),
  ];
  const message = findings.length === 0 ? 'no component is known to be too old' : 'found components that are too old';
  return { check: 'Version Check', message, details, findings, isExtra: true };
}

/** What the node agents must do for a name to resolve and a pod to be captured. */
export function checkCni({ context, mesh, cniSettings }: ClusterFacts): CheckLine {
  const check = 'CNI DNS Capture Check';
  const settings = ['AMBIENT_ENABLED', 'AMBIENT_DNS_CAPTURE'];
  const details = settings.map((name) => `${name} is "${cniSettings.get(name) ?? ''}"`);
  const [cni] = mesh.cnis;
  if (cni === undefined) return { check, message: 'no CNI agent', details, findings: [], isExtra: true };
  const findings: Finding[] = [];
  const set = (name: string): string => {
    const config = cni.object.spec?.template.spec?.containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ configMapRef }) => configMapRef?.name ?? []),
    )[0];
    const agent = `kubectl --context ${context} -n ${cni.namespace}`;
    if (config === undefined || cni.env.has(name)) return `${agent} set env daemonset/${cni.name} ${name}=true`;
    const patch = JSON.stringify({ data: { [name]: 'true' } });
    return `${agent} patch configmap ${config} --type merge -p '${patch}' && ${agent} rollout restart daemonset/${cni.name}`;
  };
  // Ours is for ambient alone, and has no switch.
  if (!isTrue(cniSettings.get('AMBIENT_ENABLED'), mesh.istiod.isIsthmus || !cniSettings.has('AMBIENT_ENABLED'))) {
    const cause = `the CNI agent ${cni.namespace}/${cni.name} does not capture pods: AMBIENT_ENABLED is not true`;
    findings.push(finding('CHECK_AMBIENT_OFF', cause, set('AMBIENT_ENABLED')));
  }
  if (!isTrue(cniSettings.get('AMBIENT_DNS_CAPTURE'), false)) {
    const cause = `global names do not resolve: the CNI agent ${cni.namespace}/${cni.name} does not capture DNS, AMBIENT_DNS_CAPTURE is not true`;
    findings.push(finding('CHECK_DNS_CAPTURE_OFF', cause, set('AMBIENT_DNS_CAPTURE')));
  }
  const message = findings.length === 0 ? 'DNS capture is on' : 'found a CNI agent that does not capture what it must';
  return { check, message, details, findings, isExtra: true };
}

/** The pods of istiod, of peering where it runs beside it, of ztunnel and the CNI agent, and of the gateways. */
export function checkComponentPods({ context, mesh, pods, eastWest }: ClusterFacts): CheckLine[] {
  const { istiod, ztunnels, cnis, peering } = mesh;
  const of = (name: string, value: string): readonly Pod[] => pods.filter(({ metadata }) => metadata.labels?.[name] === value);
  const lines: CheckLine[] = [];
  const look = (namespace: string, selector: string, workload: string): string =>
    `kubectl --context ${context} -n ${namespace} describe ${pods.some((pod) => isSelected(pod, selector)) ? `pods -l ${selector}` : workload}`;
  const lookOrScale = ({ namespace, name, object }: Component<Deployment>, selector: string, replicas: number): string =>
    object.spec?.replicas === 0
      ? `kubectl --context ${context} -n ${namespace} scale deployment/${name} --replicas=${String(replicas)}`
      : look(namespace, selector, `deployment/${name}`);
  lines.push(
    checkPods('istiod', {
      pods: of('app', 'istiod').filter(({ metadata }) => metadata.namespace === istiod.namespace),
      wanted: istiod.object.spec?.replicas ?? 1,
      code: 'CHECK_ISTIOD_NOT_READY',
      none: `no pods of istiod deployment ${istiod.name} found in namespace "${istiod.namespace}"`,
      command: lookOrScale(istiod, 'app=istiod', 1),
      isExtra: false,
    }),
  );
  if (!istiod.isIsthmus) {
    if (peering === undefined) {
      const cause = `nothing peers: ${istiod.namespace}/${istiod.name} is an Istio without peering, and there is no Deployment ${peeringName}`;
      const found = finding('CHECK_PEERING_NOT_RUNNING', cause, `isthmus install --components peering --context ${context}`);
      lines.push({
        check: 'Pod Check (peering)',
        message: `no ${peeringName} deployment found`,
        details: [],
        findings: [found],
        isExtra: true,
      });
    } else {
      lines.push(
        checkPods('peering', {
          pods: of('app', peeringName).filter(({ metadata }) => metadata.namespace === peering.namespace),
          wanted: peering.object.spec?.replicas ?? 1,
          code: 'CHECK_PEERING_NOT_READY',
          none: `no pods of deployment ${peering.name} found in namespace "${peering.namespace}"`,
          command: lookOrScale(peering, `app=${peeringName}`, 2),
          isExtra: true,
        }),
      );
    }
  }
  lines.push(
    checkPods('ztunnel', {
      pods: of('app', 'ztunnel'),
      wanted: Math.max(1, ...ztunnels.map(({ object }) => object.status?.desiredNumberScheduled ?? 0)),
      code: 'CHECK_ZTUNNEL_NOT_READY',
      none: 'no ztunnel daemonset found in any namespace',
      command: look(ztunnels[0]?.namespace ?? istiod.namespace, 'app=ztunnel', `daemonset/${ztunnels[0]?.name ?? 'ztunnel'}`),
      isExtra: false,
    }),
    checkPods('istio-cni', {
      pods: of('k8s-app', 'istio-cni-node'),
      wanted: Math.max(1, ...cnis.map(({ object }) => object.status?.desiredNumberScheduled ?? 0)),
      code: 'CHECK_CNI_NOT_READY',
      none: 'no istio-cni-node daemonset found in any namespace',
      command: look(cnis[0]?.namespace ?? istiod.namespace, 'k8s-app=istio-cni-node', 'daemonset/istio-cni-node'),
      isExtra: true,
    }),
  );
  const [gateway] = eastWest;
  if (gateway !== undefined) {
    const gatewayPods = pods.filter(({ metadata }) =>
      eastWest.some((one) => one.metadata.namespace === metadata.namespace && one.metadata.name === metadata.labels?.[labels.gatewayName]),
    );
    lines.push(
      checkPods('eastwest gateway', {
        pods: gatewayPods,
        wanted: eastWest.length,
        code: 'CHECK_EASTWEST_NOT_READY',
        none: 'no eastwest gateway pods found',
        command: look(
          gateway.metadata.namespace ?? '',
          `${labels.gatewayName}=${gateway.metadata.name}`,
          `gateway/${gateway.metadata.name}`,
        ),
        isExtra: false,
      }),
    );
  }
  return lines;
}

interface PodCheck {
  readonly pods: readonly Pod[];
  readonly wanted: number;
  readonly code: Finding['code'];
  /** What is said when there is none. */
  readonly none: string;
  readonly command: string;
  readonly isExtra: boolean;
}

function checkPods(what: string, { pods: all, wanted, code, none, command, isExtra }: PodCheck): CheckLine {
  const check = `Pod Check (${what})`;
  // One that is being replaced is not missed.
  const pods = all.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const details = pods.map(
    (pod) =>
      `${pod.metadata.namespace ?? ''}/${pod.metadata.name}: ${pod.status?.phase ?? 'Unknown'}${isReady(pod) ? ', ready' : ', not ready'}`,
  );
  const healthy = pods.filter(isReady).length;
  const message = pods.length === 0 ? none : `${String(healthy)} of ${String(Math.max(wanted, pods.length))} pods healthy`;
  const isHealthy = pods.length > 0 && healthy === pods.length && healthy >= wanted;
  return {
    check,
    message: isHealthy ? 'all pods healthy' : message,
    details,
    findings: isHealthy ? [] : [finding(code, message, command)],
    isExtra,
  };
}

function isSelected({ metadata }: Pod, selector: string): boolean {
  const [name = '', value] = selector.split('=');
  return metadata.labels?.[name] === value;
}

function isReady(pod: Pod): boolean {
  return (
    pod.status?.phase === 'Running' && (pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false)
  );
}

/** As Go reads a boolean, which Istio does. */
function isTrue(text: string | undefined, otherwise: boolean): boolean {
  if (text === undefined || text === '') return otherwise;
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}

function isAtLeast(version: string, [major, minor]: Version): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** By the release that Helm noted on what it made; else by istioctl. */
function upgradeOf(
  chart: string,
  { annotations }: { readonly annotations?: Record<string, string> },
  { context, namespace }: { readonly context: string; readonly namespace: string },
): string {
  const release = annotations?.['meta.helm.sh/release-name'];
  if (release === undefined) return `istioctl upgrade --context ${context} -i ${namespace}`;
  return `helm upgrade ${release} istio/${chart} --kube-context ${context} -n ${namespace} --reset-then-reuse-values`;
}

import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject } from '../json.ts';
import { forbidden } from '../status.ts';
import type { Store } from '../storage/store.ts';

const pods = { group: '', plural: 'pods' };

/** A pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise (DefaultTolerationSeconds). */
export function defaultTolerations(pod: AnyObject): void {
  const spec = asObject(pod['spec']);
  const tolerations = [...asList(spec['tolerations'])];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const tolerated = tolerations.map(asObject).some((toleration) => {
      const anyKey = toleration['key'] === key || (toleration['key'] ?? '') === '';
      return anyKey && (toleration['effect'] === 'NoExecute' || (toleration['effect'] ?? '') === '');
    });
    if (!tolerated) tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
  }
  pod['spec'] = { ...spec, tolerations };
}

/** The number behind a pod's priorityClassName, or the cluster's default (Priority). */
export function resolvePriority(store: Store, pod: AnyObject): void {
  const spec = asObject(pod['spec']);
  const wanted = spec['priorityClassName'];
  const classes = store.bucket('priorityclasses.scheduling.k8s.io').all();
  let found = classes.find(({ object }) => object['globalDefault'] === true)?.object;
  if (typeof wanted === 'string' && wanted !== '') {
    found = store.get('priorityclasses.scheduling.k8s.io', '', wanted)?.object;
    if (found === undefined) throw forbidden(pods, pod.metadata.name, `no PriorityClass with name ${wanted} was found`);
  }
  pod['spec'] = {
    ...spec,
    ...(found !== undefined && { priorityClassName: found.metadata.name }),
    priority: found?.['value'] ?? 0,
    preemptionPolicy: spec['preemptionPolicy'] ?? found?.['preemptionPolicy'] ?? 'PreemptLowerPriority',
  };
}

import { fill, fillObject, type Json } from '../json.ts';
import { defaultPodSpec } from './pod.ts';

export const appsDefaults: Readonly<Record<string, (object: Json) => void>> = {
  Deployment(deployment) {
    const spec = defaultWorkload(deployment);
    fill(spec, 'replicas', 1);
    fill(spec, 'revisionHistoryLimit', 10);
    fill(spec, 'progressDeadlineSeconds', 600);
    const rolling = defaultStrategy(spec, 'strategy');
    if (rolling === undefined) return;
    fill(rolling, 'maxUnavailable', '25%');
    fill(rolling, 'maxSurge', '25%');
  },
  ReplicaSet(replicaSet) {
    fill(defaultWorkload(replicaSet), 'replicas', 1);
  },
  DaemonSet(daemonSet) {
    const spec = defaultWorkload(daemonSet);
    fill(spec, 'revisionHistoryLimit', 10);
    const rolling = defaultStrategy(spec, 'updateStrategy');
    if (rolling === undefined) return;
    fill(rolling, 'maxUnavailable', 1);
    fill(rolling, 'maxSurge', 0);
  },
  StatefulSet(statefulSet) {
    const spec = defaultWorkload(statefulSet);
    fill(spec, 'replicas', 1);
    fill(spec, 'podManagementPolicy', 'OrderedReady');
    fill(spec, 'revisionHistoryLimit', 10);
    const retention = fillObject(spec, 'persistentVolumeClaimRetentionPolicy');
    fill(retention, 'whenDeleted', 'Retain');
    fill(retention, 'whenScaled', 'Retain');
    const rolling = defaultStrategy(spec, 'updateStrategy');
    if (rolling !== undefined) fill(rolling, 'partition', 0);
  },
};

function defaultWorkload(object: Json): Json {
  const spec = fillObject(object, 'spec');
  defaultPodSpec(fillObject(fillObject(spec, 'template'), 'spec'));
  return spec;
}

/** The parameters of a rolling update; undefined for another strategy. */
function defaultStrategy(spec: Json, key: string): Json | undefined {
  const strategy = fillObject(spec, key);
  return fill(strategy, 'type', 'RollingUpdate') === 'RollingUpdate' ? fillObject(strategy, 'rollingUpdate') : undefined;
}

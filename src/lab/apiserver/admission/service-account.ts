import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject, asString, type JsonObject } from '../json.ts';
import { randomSuffix } from '../rest/cluster.ts';
import { forbidden } from '../status.ts';
import type { Store } from '../storage/store.ts';

const pods = { group: '', plural: 'pods' };
const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';

/** A little more than an hour, so that clients can tell tokens of this volume from others (as Kubernetes does). */
const tokenSeconds = 3607;

/** Gives a pod its ServiceAccount and the volume with the account's token, the cluster's CA and the namespace (ServiceAccount admission). */
export function admitServiceAccount(store: Store, pod: AnyObject): void {
  const spec = { ...asObject(pod['spec']) };
  // A mirror of a pod that a node runs by itself speaks for nobody.
  if (pod.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined) return;
  const name = asString(spec['serviceAccountName']) ?? 'default';
  spec['serviceAccountName'] = name;
  spec['serviceAccount'] = name;
  const namespace = pod.metadata.namespace ?? '';
  const account = store.get('serviceaccounts.', namespace, name)?.object;
  if (account === undefined) {
    const why = `error looking up service account ${namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`;
    throw forbidden(pods, pod.metadata.name, why);
  }
  if ((spec['automountServiceAccountToken'] ?? account['automountServiceAccountToken'] ?? true) === true) mountToken(spec);
  const secrets = asList(account['imagePullSecrets']);
  if (secrets.length > 0 && asList(spec['imagePullSecrets']).length === 0) spec['imagePullSecrets'] = secrets;
  pod['spec'] = spec;
}

function mountToken(spec: JsonObject): void {
  const volumes = asList(spec['volumes']);
  const present = volumes.map(asObject).find(({ name }) => typeof name === 'string' && name.startsWith('kube-api-access-'));
  const name = asString(present?.['name']) ?? `kube-api-access-${randomSuffix()}`;
  const isMounted = (container: JsonObject): boolean =>
    asList(container['volumeMounts']).some((mount) => asObject(mount)['mountPath'] === mountPath);
  const fields = ['initContainers', 'containers'].filter((field) =>
    asList(spec[field]).some((container) => !isMounted(asObject(container))),
  );
  for (const field of fields) {
    spec[field] = asList(spec[field]).map((item) => {
      const container = asObject(item);
      if (isMounted(container)) return container;
      return { ...container, volumeMounts: [...asList(container['volumeMounts']), { name, readOnly: true, mountPath }] };
    });
  }
  if (fields.length > 0 && present === undefined) spec['volumes'] = [...volumes, tokenVolume(name)];
}

function tokenVolume(name: string): JsonObject {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
      ],
      defaultMode: 420,
    },
  };
}

import type { Namespace } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { keyedController, type Controller, type ControllerContext } from './controller.ts';

/** Every namespace has a ServiceAccount of this name. */
const serviceAccountName = 'default';
/** Every namespace has the cluster's CA in a ConfigMap of this name; pods mount it beside their token. */
const rootCaName = 'kube-root-ca.crt';

function isActive(namespace: Namespace | undefined): namespace is Namespace {
  return namespace !== undefined && namespace.metadata.deletionTimestamp === undefined && namespace.status?.phase !== 'Terminating';
}

/** Gives each namespace its default ServiceAccount (upstream serviceaccount-controller). */
export function serviceAccountController(context: ControllerContext): Controller {
  const { client, caches } = context;
  const namespaces = caches.for(resources.namespaces);
  const accounts = caches.for(resources.serviceAccounts);
  const controller = keyedController(context, 'serviceaccount', async (name) => {
    if (!isActive(namespaces.get(name)) || accounts.get(`${name}/${serviceAccountName}`) !== undefined) return;
    const metadata = { name: serviceAccountName, namespace: name };
    await accounts.caughtUp(await client.create(resources.serviceAccounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata }));
  });
  namespaces.onChange(({ key }) => controller.queue.add(key));
  accounts.onChange(({ type, old }) => {
    if (type === 'delete' && old.metadata.name === serviceAccountName) controller.queue.add(old.metadata.namespace ?? '');
  });
  return controller;
}

/** Gives each namespace the ConfigMap with the cluster's CA, and keeps it as it should be (upstream root-ca-cert-publisher). */
export function rootCaController(context: ControllerContext, rootCa: string): Controller {
  const { client, caches } = context;
  const namespaces = caches.for(resources.namespaces);
  const configMaps = caches.for(resources.configMaps);
  const data = { 'ca.crt': rootCa };
  const controller = keyedController(context, 'root-ca', async (name) => {
    if (!isActive(namespaces.get(name))) return;
    const existing = configMaps.get(`${name}/${rootCaName}`);
    if (existing === undefined) {
      const annotations = {
        'kubernetes.io/description':
          'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
      };
      const metadata = { name: rootCaName, namespace: name, annotations };
      await configMaps.caughtUp(await client.create(resources.configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data }));
    } else if (existing.data?.['ca.crt'] !== rootCa) {
      await configMaps.caughtUp(await client.update(resources.configMaps, { ...existing, data }));
    }
  });
  namespaces.onChange(({ key }) => controller.queue.add(key));
  configMaps.onChange(({ object, old }) => {
    const { name, namespace } = (object ?? old).metadata;
    if (name === rootCaName) controller.queue.add(namespace ?? '');
  });
  return controller;
}

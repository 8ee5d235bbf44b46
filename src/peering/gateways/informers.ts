import type { Deployment, Gateway, GatewayClass, KubeObject, Namespace, Service, ServiceAccount } from '../../api/kubernetes.ts';
import type { Informer } from '../../kube/index.ts';

/** What the controller asks of a copy of the objects of one kind. */
export type Copy<T extends KubeObject> = Pick<Informer<T>, 'get' | 'list' | 'onChange'>;

/** The objects that the controller of Gateways looks at. */
export interface GatewayInformers {
  readonly gateways: Copy<Gateway>;
  /** For their label `istio.io/rev`. */
  readonly namespaces: Copy<Namespace>;
  readonly services: Copy<Service>;
  /** Of these two, those that have the label gateway.istio.io/managed are enough. */
  readonly deployments: Copy<Deployment>;
  readonly serviceAccounts: Copy<ServiceAccount>;
}

export type GatewayClassInformer = Copy<GatewayClass> & Pick<Informer<GatewayClass>, 'hasSynced' | 'synced'>;

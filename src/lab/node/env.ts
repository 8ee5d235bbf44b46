import type { IContainer } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';
import { IsthmusError } from '../../core/index.ts';
import type { Image } from '../images/table.ts';
import { podField, resourceField, type PodFacts } from './pod-fields.ts';
import type { ReferencedObjects } from './referenced-objects.ts';

export interface EnvOptions {
  readonly pod: Pod;
  readonly container: IContainer;
  readonly image: Image;
  readonly facts: PodFacts;
  readonly objects: ReferencedObjects;
  /** ClusterIP of the Service `kubernetes`. */
  readonly apiServiceAddress: string;
  readonly node: { readonly cpu: number; readonly memory: number };
}

/**
 * A container's environment: the image's, the API server's address, `envFrom`, then `env` with `$(NAME)` expanded. Throws
 * LAB_POD_CONFIG when a Secret, a ConfigMap or a key of one is missing.
 */
export async function containerEnv(options: EnvOptions): Promise<Readonly<Record<string, string>>> {
  const { pod, container, image, facts, objects, apiServiceAddress, node } = options;
  const namespace = pod.metadata.namespace ?? 'default';
  const env: Record<string, string> = {
    ...image.env,
    HOSTNAME: pod.spec?.hostname ?? pod.metadata.name,
    KUBERNETES_SERVICE_HOST: apiServiceAddress,
    KUBERNETES_SERVICE_PORT: '443',
    KUBERNETES_SERVICE_PORT_HTTPS: '443',
    KUBERNETES_PORT: `tcp://${apiServiceAddress}:443`,
  };
  for (const { configMapRef, secretRef, prefix = '' } of container.envFrom ?? []) {
    const source = configMapRef ?? secretRef;
    const kind = configMapRef === undefined ? 'secret' : 'configMap';
    const data = await objects.data(kind, namespace, source?.name ?? '', pod.metadata.uid);
    if (data === undefined && source?.optional !== true) throw missing(kind, source?.name ?? '');
    for (const [name, value] of Object.entries(data ?? {})) env[`${prefix}${name}`] = value.toString('utf8');
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom === undefined) {
      env[name] = expand(value ?? '', env);
      continue;
    }
    const { fieldRef, resourceFieldRef } = valueFrom;
    if (fieldRef !== undefined) env[name] = podField(pod, fieldRef.fieldPath, facts);
    else if (resourceFieldRef !== undefined) {
      const { containerName, resource, divisor } = resourceFieldRef;
      const of = containerName === undefined ? container : pod.spec?.containers.find((other) => other.name === containerName);
      env[name] = resourceField(of?.resources, resource, divisor, node);
    } else {
      const reference = valueFrom.configMapKeyRef ?? valueFrom.secretKeyRef;
      const kind = valueFrom.configMapKeyRef === undefined ? 'secret' : 'configMap';
      const data = await objects.data(kind, namespace, reference?.name ?? '', pod.metadata.uid);
      const found = data?.[reference?.key ?? ''];
      if (found !== undefined) env[name] = found.toString('utf8');
      else if (reference?.optional === true) continue;
      else if (data === undefined) throw missing(kind, reference?.name ?? '');
      else
        throw new IsthmusError(
          'LAB_POD_CONFIG',
          `couldn't find key ${reference?.key ?? ''} in ${kind} ${namespace}/${reference?.name ?? ''}`,
        );
    }
  }
  return env;
}

function missing(kind: string, name: string): IsthmusError {
  return new IsthmusError('LAB_POD_CONFIG', `${kind.toLowerCase()} "${name}" not found`);
}

/** Replaces `$(NAME)` by the value of a variable that is known, and `$$(NAME)` by `$(NAME)`. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (match, name: string | undefined) => {
    if (name === undefined) return '$';
    return Object.hasOwn(env, name) ? (env[name] ?? '') : match;
  });
}

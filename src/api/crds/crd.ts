import type { KubeObject } from '../kubernetes.ts';
import { object, string, type Schema } from './schema.ts';

export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly jsonPath: string;
  /** 0 when absent: always shown; 1: only with `-o wide`. */
  readonly priority?: number;
}

export interface CrdVersion {
  readonly name: string;
  readonly served: boolean;
  readonly storage: boolean;
  readonly schema: { readonly openAPIV3Schema: Schema };
  readonly subresources?: { readonly status: Record<string, never> };
  readonly additionalPrinterColumns?: readonly PrinterColumn[];
}

/** A manifest of apiextensions.k8s.io/v1 CustomResourceDefinition. */
export interface Crd extends KubeObject {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced' | 'Cluster';
    readonly names: {
      readonly plural: string;
      readonly singular: string;
      readonly kind: string;
      readonly listKind: string;
      readonly shortNames?: readonly string[];
      readonly categories?: readonly string[];
    };
    readonly versions: readonly CrdVersion[];
  };
}

/** What one kind says of itself; what all kinds of its project have in common comes from {@link Project}. */
export interface Definition {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
  readonly shortNames?: readonly string[];
  /** Default Namespaced. */
  readonly scope?: 'Namespaced' | 'Cluster';
  /** The served versions; all have the same schema. */
  readonly versions: readonly string[];
  /** The one of them that is stored. */
  readonly storage: string;
  readonly required?: readonly string[];
  readonly columns: readonly PrinterColumn[];
  readonly spec: Schema;
  /** With it the kind has the subresource `status`. */
  readonly status?: Schema;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Labels, annotations and categories that the definitions of a project share. */
export interface Project {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly categories: readonly string[];
}

export const column = (name: string, jsonPath: string, type: PrinterColumn['type'] = 'string', priority = 0): PrinterColumn => ({
  name,
  type,
  jsonPath,
  ...(priority === 0 ? {} : { priority }),
});

export const age = column('Age', '.metadata.creationTimestamp', 'date');

/** The manifest of a definition. */
export function defineCrd(definition: Definition, project: Project): Crd {
  const { group, plural, kind, spec, status } = definition;
  const openAPIV3Schema = object(
    { apiVersion: string(), kind: string(), metadata: { type: 'object' }, spec, ...(status === undefined ? {} : { status }) },
    definition.required === undefined ? {} : { required: definition.required },
  );
  const labels = { ...project.labels, ...definition.labels };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      annotations: { ...project.annotations },
    },
    spec: {
      group,
      scope: definition.scope ?? 'Namespaced',
      names: {
        plural,
        singular: kind.toLowerCase(),
        kind,
        listKind: `${kind}List`,
        ...(definition.shortNames === undefined ? {} : { shortNames: definition.shortNames }),
        categories: project.categories,
      },
      versions: definition.versions.map((name) => ({
        name,
        served: true,
        storage: name === definition.storage,
        schema: { openAPIV3Schema },
        ...(status === undefined ? {} : { subresources: { status: {} } }),
        ...(definition.columns.length === 0 ? {} : { additionalPrinterColumns: definition.columns }),
      })),
    },
  };
}

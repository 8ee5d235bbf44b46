import type { AnyObject } from '../../../api/kubernetes.ts';

/** The verbs of a resource as discovery spells them. */
export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** A subresource as discovery lists it, e.g. `status`, `scale`, `token`. */
export interface SubresourceInfo {
  readonly name: string;
  /** The kind that it reads or answers; its group and version are the resource's own when absent. */
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
}

/** One resource in one served version. */
export interface ResourceInfo {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly plural: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  readonly subresources: readonly SubresourceInfo[];
  /** Tells clients that two versions share their storage; absent where nothing is stored. */
  readonly storageVersionHash?: string;
  /** The group whose storage this resource shares: events.k8s.io/v1 events are those of the core group. */
  readonly storedAs?: { readonly group: string; readonly version: string };
  /** Set for a resource of a CustomResourceDefinition: the definition's name. */
  readonly crd?: string;
}

/** Kubernetes' field.ErrorType, by the reasons that a Status carries. */
export type FieldErrorReason =
  | 'FieldValueNotFound'
  | 'FieldValueRequired'
  | 'FieldValueDuplicate'
  | 'FieldValueInvalid'
  | 'FieldValueNotSupported'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'InternalError'
  | 'FieldValueTypeInvalid';

/** One cause of a 422 answer: `${field}: ${message}` is how it reads in the Status' message. */
export interface FieldError {
  readonly reason: FieldErrorReason;
  readonly field: string;
  /** The kind of error, the value and the detail: `Invalid value: 0: must be between 1 and 65535, inclusive`. */
  readonly message: string;
}

/** How server-side apply and strategic merge patch treat the value at a path. */
export interface MergeStrategy {
  /** `untyped`: nothing is known of the value (an unknown field, free-form JSON). */
  readonly type: 'scalar' | 'object' | 'map' | 'list' | 'untyped';
  /**
   * Server-side apply: `atomic` has one owner as a whole; `granular` objects and maps are owned by field, `set` lists by value,
   * `associative` lists by the values of {@link MergeStrategy.keys}.
   */
  readonly apply: 'atomic' | 'granular' | 'set' | 'associative';
  /** The keys of an associative list, with the value that an absent key has by default. */
  readonly keys: readonly { readonly name: string; readonly default?: unknown }[];
  /** Strategic merge patch: what a patch does with this value. */
  readonly patch: {
    readonly strategy: 'merge' | 'replace';
    /** `retainKeys` is allowed besides the strategy. */
    readonly retainKeys: boolean;
    /** For merged lists of objects. */
    readonly mergeKey?: string;
  };
}

/** A step of a path: a field or map key, or any number for "an item of the list". */
export type PathStep = string | number;

export interface PruneOptions {
  /** `drop` removes what the schema does not know; `keep` only reports it. */
  readonly mode: 'drop' | 'keep';
}

export interface PruneResult {
  readonly object: AnyObject;
  /** Paths as Kubernetes prints them: `spec.junk`, `spec.ports[0].nme`. */
  readonly unknownFields: readonly string[];
}

/** What one version of one kind is: decoding, defaults, rules, merging. Stateless and shared. */
export interface TypeSchema {
  /**
   * Reads a decoded JSON body as the kind's type does: unknown fields go (and are reported), values of a wrong type throw
   * {@link DecodeError}, and what Go would not write back (null, empty optional values) goes as well. Built-in kinds only do the latter two.
   */
  prune(object: unknown, options: PruneOptions): PruneResult;
  /** The object with the defaults that a server fills in on create and update; the argument is not changed. */
  default(object: AnyObject): AnyObject;
  /** What is wrong with the object on its own, or with `old` as an update of it; empty when valid. */
  validate(object: AnyObject, old?: AnyObject): FieldError[];
  /** The same for an update through the subresource `status`. */
  validateStatus(object: AnyObject, old: AnyObject): FieldError[];
  mergeStrategy(path: readonly PathStep[]): MergeStrategy;
}

/** The subset of meta.k8s.io/v1 Table that a server sends. */
export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: 'meta.k8s.io/v1';
  readonly metadata: Record<string, unknown>;
  readonly columnDefinitions: readonly TableColumn[];
  readonly rows: readonly TableRow[];
}

export interface TableColumn {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  /** 0: always shown; 1: only with `-o wide`. */
  readonly priority: number;
}

export interface TableRow {
  readonly cells: readonly unknown[];
  readonly object?: unknown;
}

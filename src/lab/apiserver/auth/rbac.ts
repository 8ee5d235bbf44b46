import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject, asString, type JsonObject } from '../json.ts';
import type { Store } from '../storage/store.ts';
import { serviceAccountUsername, type UserInfo } from './user.ts';

/** What somebody wants to do: with a resource, or with a path that is no resource. */
export type Attributes = ResourceAttributes | PathAttributes;

export interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export interface PathAttributes {
  readonly verb: string;
  readonly path: string;
}

export interface Decision {
  readonly allowed: boolean;
  /** Empty when nothing allows it. */
  readonly reason: string;
}

/** One rule of a role, and how its holder came by it. */
export interface GrantedRule {
  readonly rule: JsonObject;
  readonly reason: string;
}

const roles = 'roles.rbac.authorization.k8s.io';
const clusterRoles = 'clusterroles.rbac.authorization.k8s.io';
const roleBindings = 'rolebindings.rbac.authorization.k8s.io';
const clusterRoleBindings = 'clusterrolebindings.rbac.authorization.k8s.io';

/** Role-based access control, decided on the roles and bindings in the store as they are now. */
export class Rbac {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  authorize(user: UserInfo, attributes: Attributes): Decision {
    // The group that needs no role, so that a cluster whose roles are gone can be mended.
    if (user.groups.includes('system:masters')) return { allowed: true, reason: '' };
    const namespace = 'path' in attributes ? undefined : attributes.namespace;
    for (const { rule, reason } of this.rulesFor(user, namespace)) {
      if (allows(rule, attributes)) return { allowed: true, reason };
    }
    return { allowed: false, reason: '' };
  }

  /** The rules that hold for a user in a namespace; cluster-wide ones without. */
  *rulesFor(user: UserInfo, namespace: string | undefined): Generator<GrantedRule> {
    for (const { object } of this.#store.bucket(clusterRoleBindings).all()) yield* this.#granted(user, object, '');
    if (namespace === undefined || namespace === '') return;
    for (const { object } of this.#store.bucket(roleBindings).all()) {
      if (object.metadata.namespace === namespace) yield* this.#granted(user, object, namespace);
    }
  }

  /** The rules of a role that a binding names; undefined when there is no such role. */
  rulesOf(roleRef: unknown, namespace: string): readonly JsonObject[] | undefined {
    const { kind, name } = asObject(roleRef);
    const role = kind === 'ClusterRole' ? this.#store.get(clusterRoles, '', String(name)) : this.#store.get(roles, namespace, String(name));
    if (role === undefined) return undefined;
    return [...asList(role.object['rules']).map(asObject), ...this.#aggregated(role.object)];
  }

  *#granted(user: UserInfo, binding: AnyObject, namespace: string): Generator<GrantedRule> {
    const subject = asList(binding['subjects'])
      .map(asObject)
      .find((candidate) => isSubject(candidate, user, namespace));
    if (subject === undefined) return;
    const { kind, name } = asObject(binding['roleRef']);
    const bindingName = namespace === '' ? binding.metadata.name : `${binding.metadata.name}/${namespace}`;
    const type = namespace === '' ? 'ClusterRoleBinding' : 'RoleBinding';
    const account = subject['kind'] === 'ServiceAccount';
    const who = account ? `${String(subject['name'])}/${asString(subject['namespace']) ?? namespace}` : String(subject['name']);
    const reason = `RBAC: allowed by ${type} ${JSON.stringify(bindingName)} of ${String(kind)} ${JSON.stringify(name)} to ${String(subject['kind'])} ${JSON.stringify(who)}`;
    for (const rule of this.rulesOf(binding['roleRef'], namespace) ?? []) yield { rule, reason };
  }

  /** The rules of the roles that an aggregationRule selects. */
  #aggregated(role: AnyObject): JsonObject[] {
    const selectors = asList(asObject(role['aggregationRule'])['clusterRoleSelectors']).map(asObject);
    if (selectors.length === 0) return [];
    return this.#store
      .bucket(clusterRoles)
      .all()
      .filter(({ object }) => object !== role && selectors.some((selector) => matchesLabels(selector, object)))
      .flatMap(({ object }) => asList(object['rules']).map(asObject));
  }
}

function matchesLabels(selector: JsonObject, object: AnyObject): boolean {
  const wanted = Object.entries(asObject(selector['matchLabels']));
  return wanted.length > 0 && wanted.every(([key, value]) => object.metadata.labels?.[key] === value);
}

function isSubject(subject: JsonObject, user: UserInfo, namespace: string): boolean {
  switch (subject['kind']) {
    case 'User':
      return subject['name'] === user.username;
    case 'Group':
      return user.groups.includes(String(subject['name']));
    case 'ServiceAccount':
      return user.username === serviceAccountUsername(asString(subject['namespace']) ?? namespace, String(subject['name']));
    default:
      return false;
  }
}

/** Whether one rule allows what is wanted. */
export function allows(rule: JsonObject, attributes: Attributes): boolean {
  if (!includes(rule['verbs'], attributes.verb)) return false;
  if ('path' in attributes) {
    return asList(rule['nonResourceURLs']).some(
      (url) =>
        url === '*' ||
        url === attributes.path ||
        (typeof url === 'string' && url.endsWith('*') && attributes.path.startsWith(url.slice(0, -1))),
    );
  }
  const { group, resource, subresource, name } = attributes;
  const full = subresource === undefined ? resource : `${resource}/${subresource}`;
  const resourceMatches = asList(rule['resources']).some(
    (candidate) => candidate === '*' || candidate === full || (subresource !== undefined && candidate === `*/${subresource}`),
  );
  const names = asList(rule['resourceNames']);
  return includes(rule['apiGroups'], group) && resourceMatches && (names.length === 0 || (name !== undefined && names.includes(name)));
}

function includes(list: unknown, wanted: string): boolean {
  return asList(list).some((item) => item === '*' || item === wanted);
}

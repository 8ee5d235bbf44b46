import type { Admission } from '../admission/admit.ts';
import { asList, asObject, deepEqual, type JsonObject } from '../json.ts';
import type { Cluster } from '../rest/cluster.ts';
import { forbidden } from '../status.ts';
import { Rbac } from './rbac.ts';
import type { UserInfo } from './user.ts';

/**
 * Nobody may give away more than they have: who writes a role must hold all of its rules (or the verb `escalate` on it), who
 * writes a binding all rules of the role that it names (or the verb `bind`). Throws the API's 403.
 */
export function checkEscalation(cluster: Cluster, { resource, object, old, options: { user } }: Admission): void {
  if (user.groups.includes('system:masters')) return;
  const rbac = new Rbac(cluster.store);
  const { info } = resource;
  const isRole = info.kind === 'Role' || info.kind === 'ClusterRole';
  const namespace = object.metadata.namespace ?? '';
  const unchanged = isRole ? deepEqual(object['rules'], old?.['rules']) : deepEqual(object['subjects'], old?.['subjects']);
  if (old !== undefined && unchanged) return;

  const roleRef = asObject(object['roleRef']);
  const target = isRole ? { resource: info.plural, name: object.metadata.name } : boundRole(roleRef);
  const verb = isRole ? 'escalate' : 'bind';
  if (rbac.authorize(user, { verb, group: info.group, namespace, ...target }).allowed) return;

  const wanted = isRole ? asList(object['rules']).map(asObject) : (rbac.rulesOf(roleRef, namespace) ?? []);
  const held = [...rbac.rulesFor(user, namespace)].map(({ rule }) => rule);
  const missing = wanted.flatMap(atoms).filter((atom) => !held.some((rule) => covers(rule, atom)));
  if (missing.length === 0) return;
  throw forbidden(info, object.metadata.name, escalationMessage(user, missing));
}

function boundRole(roleRef: JsonObject): { resource: string; name: string } {
  return { resource: roleRef['kind'] === 'ClusterRole' ? 'clusterroles' : 'roles', name: String(roleRef['name']) };
}

interface Atom {
  readonly verb: string;
  readonly group?: string;
  readonly resource?: string;
  readonly name?: string;
  readonly path?: string;
}

/** A rule as the single permissions that it consists of. */
function atoms(rule: JsonObject): Atom[] {
  const strings = (value: unknown): string[] => asList(value).map(String);
  const result: Atom[] = [];
  for (const verb of strings(rule['verbs'])) {
    for (const path of strings(rule['nonResourceURLs'])) result.push({ verb, path });
    const names = strings(rule['resourceNames']);
    for (const group of strings(rule['apiGroups'])) {
      for (const resource of strings(rule['resources'])) {
        if (names.length === 0) result.push({ verb, group, resource });
        for (const name of names) result.push({ verb, group, resource, name });
      }
    }
  }
  return result;
}

function covers(rule: JsonObject, atom: Atom): boolean {
  const has = (field: string, value: string | undefined): boolean => asList(rule[field]).some((item) => item === '*' || item === value);
  if (!has('verbs', atom.verb)) return false;
  if (atom.path !== undefined) return has('nonResourceURLs', atom.path);
  const names = asList(rule['resourceNames']);
  return has('apiGroups', atom.group) && has('resources', atom.resource) && (names.length === 0 || names.includes(atom.name));
}

function escalationMessage(user: UserInfo, missing: readonly Atom[]): string {
  const rules = missing.map((atom) =>
    atom.path === undefined
      ? `{APIGroups:[${JSON.stringify(atom.group)}], Resources:[${JSON.stringify(atom.resource)}], ${atom.name === undefined ? '' : `ResourceNames:[${JSON.stringify(atom.name)}], `}Verbs:[${JSON.stringify(atom.verb)}]}`
      : `{NonResourceURLs:[${JSON.stringify(atom.path)}], Verbs:[${JSON.stringify(atom.verb)}]}`,
  );
  const groups = user.groups.map((group) => JSON.stringify(group)).join(' ');
  return `user ${JSON.stringify(user.username)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${rules.join('\n')}`;
}

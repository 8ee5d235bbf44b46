import { asList, asObject, asString, type JsonObject } from '../json.ts';
import type { StatusError } from '../status.ts';
import { badRequest } from '../status.ts';
import { InvalidTokenError, type ServiceAccountTokens } from './tokens.ts';
import type { Attributes, Rbac } from './rbac.ts';
import type { UserInfo } from './user.ts';

/** status of a TokenReview: who the token speaks for, if it is meant for one of the audiences asked for. */
export function reviewToken(tokens: ServiceAccountTokens, spec: JsonObject, now: number): JsonObject {
  const wanted = asList(spec['audiences']).filter((audience) => typeof audience === 'string');
  try {
    const { user, audiences } = tokens.verify(asString(spec['token']) ?? '', now);
    const targets = wanted.length === 0 ? [tokens.issuer] : wanted;
    const matching = audiences.filter((audience) => targets.includes(audience));
    if (matching.length === 0) {
      const list = (values: readonly string[]): string => `[${values.map((value) => JSON.stringify(value)).join(' ')}]`;
      const why = `token audiences ${list(audiences)} is invalid for the target audiences ${list(targets)}`;
      return { user: {}, error: `[invalid bearer token, ${why}]` };
    }
    return { authenticated: true, user: userJson(user), ...(wanted.length > 0 && { audiences: matching }) };
  } catch (error) {
    if (!(error instanceof InvalidTokenError)) throw error;
    const detail = error.message === 'invalid bearer token' ? error.message : `[invalid bearer token, ${error.message}]`;
    return { user: {}, error: detail };
  }
}

export function userJson({ username, uid, groups, extra }: UserInfo): JsonObject {
  return { username, ...(uid !== undefined && { uid }), groups, ...(extra !== undefined && { extra }) };
}

/** status of an access review about this user. */
export function reviewAccess(rbac: Rbac, user: UserInfo, spec: JsonObject): JsonObject {
  const { allowed, reason } = rbac.authorize(user, attributesOf(spec));
  return { allowed, ...(reason !== '' && { reason }) };
}

/** The user that a SubjectAccessReview is about. */
export function subjectOf(spec: JsonObject): UserInfo {
  return {
    username: asString(spec['user']) ?? '',
    groups: asList(spec['groups']).filter((group) => typeof group === 'string'),
  };
}

/** status of a SelfSubjectRulesReview: everything that the user may do in a namespace. */
export function reviewRules(rbac: Rbac, user: UserInfo, spec: JsonObject): JsonObject {
  const resourceRules: JsonObject[] = [];
  const nonResourceRules: JsonObject[] = [];
  for (const { rule } of rbac.rulesFor(user, asString(spec['namespace']) ?? '')) {
    const { verbs, apiGroups, resources, resourceNames, nonResourceURLs } = rule;
    if (nonResourceURLs !== undefined) nonResourceRules.push({ verbs, nonResourceURLs });
    else resourceRules.push({ verbs, apiGroups, resources, ...(resourceNames !== undefined && { resourceNames }) });
  }
  if (user.groups.includes('system:masters')) {
    resourceRules.push({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] });
    nonResourceRules.push({ verbs: ['*'], nonResourceURLs: ['*'] });
  }
  return { resourceRules, nonResourceRules, incomplete: false };
}

function attributesOf(spec: JsonObject): Attributes {
  if (spec['nonResourceAttributes'] !== undefined) {
    const { path, verb } = asObject(spec['nonResourceAttributes']);
    return { path: asString(path) ?? '', verb: asString(verb) ?? '' };
  }
  if (spec['resourceAttributes'] === undefined) throw noAttributes();
  const attributes = asObject(spec['resourceAttributes']);
  return {
    verb: asString(attributes['verb']) ?? '',
    group: asString(attributes['group']) ?? '',
    resource: asString(attributes['resource']) ?? '',
    subresource: asString(attributes['subresource']),
    namespace: asString(attributes['namespace']),
    name: asString(attributes['name']),
  };
}

function noAttributes(): StatusError {
  return badRequest(
    'spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified',
  );
}

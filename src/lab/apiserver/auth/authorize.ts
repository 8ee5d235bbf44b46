import type { RequestInfo } from '../request-info.ts';
import { forbidden, StatusError } from '../status.ts';
import { scopeText } from './authenticate.ts';
import type { Rbac } from './rbac.ts';
import type { UserInfo } from './user.ts';

/** Throws the API's 403 unless a role allows the request. */
export function authorizeRequest(rbac: Rbac, user: UserInfo, request: RequestInfo, name: string | undefined): void {
  const { resource, verb, path } = request;
  if (resource === undefined) {
    if (rbac.authorize(user, { verb, path }).allowed) return;
    throw new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `forbidden: User ${JSON.stringify(user.username)} cannot ${verb} path ${JSON.stringify(path)}`,
      details: {},
    });
  }
  const { group, plural, subresource, namespace } = resource;
  const wanted = { verb, group, resource: plural, subresource, namespace, name: resource.name ?? name };
  if (rbac.authorize(user, wanted).allowed) return;
  const full = subresource === undefined ? plural : `${plural}/${subresource}`;
  const why = `User ${JSON.stringify(user.username)} cannot ${verb} resource ${JSON.stringify(full)} in API group ${JSON.stringify(group)} ${scopeText(namespace)}`;
  throw forbidden({ plural, group }, resource.name, why);
}

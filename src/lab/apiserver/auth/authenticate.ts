import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';

import { forbidden, StatusError, unauthorized } from '../status.ts';
import type { Rbac } from './rbac.ts';
import { InvalidTokenError, type ServiceAccountTokens } from './tokens.ts';
import { anonymous, type UserInfo } from './user.ts';

/** Who sends a request: by client certificate, by service account token, or nobody in particular. Throws the API's 401. */
export function authenticate(request: IncomingMessage, tokens: ServiceAccountTokens, now: number): UserInfo {
  const byCertificate = certificateUser(request);
  if (byCertificate !== undefined) return byCertificate;
  const { authorization } = request.headers;
  if (authorization === undefined) return anonymous;
  const token = /^bearer\s+(\S+)$/i.exec(authorization)?.[1];
  if (token === undefined) throw unauthorized();
  try {
    const { user, audiences } = tokens.verify(token, now);
    if (!audiences.includes(tokens.issuer)) throw unauthorized();
    return user;
  } catch (error) {
    if (error instanceof InvalidTokenError) throw unauthorized();
    throw error;
  }
}

/** The subject of a client certificate: the common name is the user, organizations are groups. */
function certificateUser({ socket }: IncomingMessage): UserInfo | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // The declared type leaves out that a field which stands more than once is a list.
  const subject = socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] } | undefined;
  if (subject?.CN === undefined) return undefined;
  const groups = subject.O === undefined ? [] : Array.isArray(subject.O) ? subject.O : [subject.O];
  return { username: subject.CN, groups: [...groups, 'system:authenticated'] };
}

/** Acts as another user when the request asks for it and its sender may (kubectl --as). */
export function impersonate(request: IncomingMessage, user: UserInfo, rbac: Rbac): UserInfo {
  const header = (name: string): string[] => {
    const value = request.headersDistinct[name];
    return value ?? [];
  };
  const [username] = header('impersonate-user');
  const groups = header('impersonate-group');
  if (username === undefined) {
    if (groups.length === 0) return user;
    throw new StatusError({ code: 500, reason: 'InternalError', message: 'requested groups without impersonating a user' });
  }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username);
  const wanted =
    account === null
      ? { resource: 'users', name: username, namespace: undefined }
      : { resource: 'serviceaccounts', name: account[2] ?? '', namespace: account[1] };
  for (const what of [wanted, ...groups.map((name) => ({ resource: 'groups', name, namespace: undefined }))]) {
    if (rbac.authorize(user, { verb: 'impersonate', group: '', ...what }).allowed) continue;
    const why = `User ${JSON.stringify(user.username)} cannot impersonate resource ${JSON.stringify(what.resource)} in API group "" ${scopeText(what.namespace)}`;
    throw forbidden({ plural: what.resource, group: '' }, what.name, why);
  }
  const implied = account === null ? [] : ['system:serviceaccounts', `system:serviceaccounts:${account[1] ?? ''}`];
  const all = [...(groups.length > 0 ? groups : implied)];
  const status = username === anonymous.username ? 'system:unauthenticated' : 'system:authenticated';
  return { username, groups: all.includes(status) ? all : [...all, status] };
}

export function scopeText(namespace: string | undefined): string {
  return namespace === undefined || namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
}

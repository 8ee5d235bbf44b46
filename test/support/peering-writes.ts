import type { ApiServer, AuditedRequest } from './api-server.ts';
import { peeringAccount } from './peering-process.ts';

const username = `system:serviceaccount:${peeringAccount.namespace}:${peeringAccount.name}`;
const writing = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);

/** What isthmus peering has asked the API server to write of some kinds, by the audit log. */
export async function writesOf(server: ApiServer, plurals: readonly string[]): Promise<readonly AuditedRequest[]> {
  return (await server.audited()).filter(
    ({ user, verb, objectRef }) => user.username === username && plurals.includes(objectRef?.resource ?? '') && writing.has(verb),
  );
}

import type { AnyObject } from '../../../api/kubernetes.ts';
import { recordUpdate } from '../apply/field-manager.ts';
import type { Rbac } from '../auth/rbac.ts';
import { reviewAccess, reviewRules, reviewToken, subjectOf, userJson } from '../auth/reviews.ts';
import type { ServiceAccountTokens } from '../auth/tokens.ts';
import { asObject, type JsonObject } from '../json.ts';
import { timestamp } from '../rest/cluster.ts';
import { decodeBody, expectedKind } from '../rest/decode.ts';
import { methodNotAllowed } from '../status.ts';
import { contentType, decodeBytes, readBytes } from './read-body.ts';
import { replyTo, writeOptions, type ResourceCall } from './resource-handler.ts';
import { sendObject } from './respond.ts';

/** Serves the kinds that are questions: they are posted, answered in their status, and never stored. */
export async function handleReview(call: ResourceCall, rbac: Rbac, tokens: ServiceAccountTokens): Promise<void> {
  const { cluster, resource, request, info } = call;
  if (info.verb !== 'create') throw methodNotAllowed();
  const reply = replyTo(call);
  const options = writeOptions(call, reply, 'CreateOptions');
  const body = decodeBytes(await readBytes(request), contentType(request), resource.info.kind);
  const { schema } = resource;
  const sent = schema.default(decodeBody(body, expectedKind(resource), schema, options));
  const spec = asObject(sent['spec']);
  const now = cluster.now();
  const owned =
    resource.info.kind === 'SelfSubjectReview'
      ? { ...sent, metadata: { ...sent.metadata, creationTimestamp: timestamp(now) } }
      : recordUpdate(schema.prune({}, { mode: 'drop' }).object, sent, {
          strategyOf: (path) => schema.mergeStrategy(path),
          id: { manager: options.fieldManager, operation: 'Update', subresource: '', apiVersion: resource.apiVersion },
          resetFields: [],
          now: timestamp(now),
        });
  const answer: AnyObject = { ...owned, status: answerTo(call, spec, rbac, tokens, now) };
  sendObject(reply, 201, resource, answer);
}

function answerTo({ resource, user }: ResourceCall, spec: JsonObject, rbac: Rbac, tokens: ServiceAccountTokens, now: number): JsonObject {
  switch (resource.info.kind) {
    case 'TokenReview':
      return reviewToken(tokens, spec, now);
    case 'SelfSubjectReview':
      return { userInfo: userJson(user) };
    case 'SelfSubjectAccessReview':
      return reviewAccess(rbac, user, spec);
    case 'SelfSubjectRulesReview':
      return reviewRules(rbac, user, spec);
    default:
      return reviewAccess(rbac, subjectOf(spec), spec);
  }
}

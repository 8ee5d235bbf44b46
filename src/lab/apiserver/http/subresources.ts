import type { AnyObject } from '../../../api/kubernetes.ts';
import type { ServiceAccountTokens } from '../auth/tokens.ts';
import { recordUpdate } from '../apply/field-manager.ts';
import { asList, asObject, asString, clone, omit, printed } from '../json.ts';
import { timestamp } from '../rest/cluster.ts';
import { decodeBody } from '../rest/decode.ts';
import { isReadyToGo } from '../rest/strategy.ts';
import { checkIdentity, find } from '../rest/update.ts';
import { remove } from '../rest/delete.ts';
import { schemaFor } from '../schema/index.ts';
import { badRequest, conflict, invalid, methodNotAllowed, notFound } from '../status.ts';
import { contentType, decodeBytes, readBytes } from './read-body.ts';
import { replyTo, writeOptions, type ResourceCall } from './resource-handler.ts';
import { sendDocument, sendObject } from './respond.ts';

/** `pods/binding`: puts a pod on a node, as the scheduler does. */
export async function handleBinding(call: ResourceCall): Promise<void> {
  const { cluster, target, resource, request, info } = call;
  if (info.verb !== 'create') throw methodNotAllowed();
  const reply = replyTo(call);
  const body = asObject(decodeBytes(await readBytes(request), contentType(request), 'Binding'));
  const pod = find(cluster, resource, target.namespace, target.name ?? '');
  const node = asString(asObject(body['target'])['name']) ?? '';
  if (node === '') {
    throw invalid({ kind: 'Binding', group: '' }, pod.metadata.name, [
      { reason: 'FieldValueRequired', field: 'target.name', message: 'Required value' },
    ]);
  }
  const spec = asObject(pod['spec']);
  const bound = asString(spec['nodeName']) ?? '';
  const binding = { group: '', plural: 'pods/binding' };
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw conflict(binding, pod.metadata.name, `pod ${pod.metadata.name} is being deleted, cannot be assigned to a host`);
  }
  if (bound !== '') {
    throw conflict(binding, pod.metadata.name, `pod ${pod.metadata.name} is already assigned to node ${JSON.stringify(bound)}`);
  }
  const next = clone(pod);
  next['spec'] = { ...spec, nodeName: node };
  next['status'] = withCondition(asObject(pod['status']), 'PodScheduled', timestamp(cluster.now()));
  if (!writeOptions(call, reply, 'CreateOptions').dryRun) cluster.store.put(resource.bucket, next);
  sendDocument(reply, 201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
}

function withCondition(status: Record<string, unknown>, type: string, now: string): Record<string, unknown> {
  const others = asList(status['conditions']).filter((condition) => asObject(condition)['type'] !== type);
  return { ...status, conditions: [...others, { type, status: 'True', lastProbeTime: null, lastTransitionTime: now }] };
}

/** `pods/eviction`: a deletion that asks first whether it may; the lab has nothing that would say no. */
export async function handleEviction(call: ResourceCall): Promise<void> {
  const { cluster, target, resource, request, info } = call;
  if (info.verb !== 'create') throw methodNotAllowed();
  const reply = replyTo(call);
  const body = asObject(decodeBytes(await readBytes(request), contentType(request), 'Eviction'));
  const { gracePeriodSeconds } = asObject(body['deleteOptions']);
  const { dryRun } = writeOptions(call, reply, 'CreateOptions');
  remove(cluster, {
    resource,
    namespace: target.namespace,
    name: target.name ?? '',
    options: { dryRun, ...(typeof gracePeriodSeconds === 'number' && { gracePeriodSeconds }) },
  });
  sendDocument(reply, 201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
}

/** `namespaces/finalize`: the namespace controller's word that nothing is left inside. */
export async function handleFinalize(call: ResourceCall): Promise<void> {
  const { cluster, target, resource, request, info } = call;
  if (info.verb !== 'update') throw methodNotAllowed();
  const reply = replyTo(call);
  const options = writeOptions(call, reply, 'UpdateOptions');
  const body = decodeBytes(await readBytes(request), contentType(request), 'Namespace');
  const sent = decodeBody(body, { kind: 'Namespace', apiVersion: 'v1', group: '', custom: false }, resource.schema, options);
  const old = find(cluster, resource, undefined, target.name ?? '');
  checkIdentity(resource, sent, old);
  const next: AnyObject = clone(old);
  const finalizers = asList(asObject(sent['spec'])['finalizers']);
  next['spec'] = { ...omit(asObject(old['spec']), 'finalizers'), ...(finalizers.length > 0 && { finalizers }) };
  if (options.dryRun) {
    sendObject(reply, 200, resource, next);
  } else if (isReadyToGo(resource, next)) {
    sendObject(reply, 200, resource, cluster.store.remove(resource.bucket, next).object);
  } else {
    sendObject(reply, 200, resource, cluster.store.put(resource.bucket, next).object);
  }
}

const tokenType = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };
const tokenKind = { kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1', group: 'authentication.k8s.io', custom: false };
/** Seconds. */
const tokenLife = { least: 600, default: 3600, most: 2 ** 32 };

/** `serviceaccounts/token`: a token for an account, for an audience, for a time, and as long as a pod lives if it is bound to one. */
export async function handleTokenRequest(call: ResourceCall, tokens: ServiceAccountTokens): Promise<void> {
  const { cluster, target, resource, request, info } = call;
  if (info.verb !== 'create') throw methodNotAllowed();
  const reply = replyTo(call);
  const options = writeOptions(call, reply, 'CreateOptions');
  const account = find(cluster, resource, target.namespace, target.name ?? '');
  const schema = schemaFor(tokenType);
  const decoded = decodeBody(decodeBytes(await readBytes(request), contentType(request), 'TokenRequest'), tokenKind, schema, options);
  const sent = schema.default(decoded);
  const spec = asObject(sent['spec']);
  const seconds = typeof spec['expirationSeconds'] === 'number' ? spec['expirationSeconds'] : tokenLife.default;
  const lifetime = (why: string): Error =>
    invalid(tokenType, '', [
      { reason: 'FieldValueInvalid', field: 'spec.expirationSeconds', message: `Invalid value: ${String(seconds)}: ${why}` },
    ]);
  if (seconds < tokenLife.least) throw lifetime('may not specify a duration less than 10 minutes');
  if (seconds > tokenLife.most) throw lifetime('may not specify a duration larger than 2^32 seconds');
  const given = asList(spec['audiences']).filter((audience) => typeof audience === 'string');
  const audiences = given.length > 0 ? given : [tokens.issuer];
  const namespace = account.metadata.namespace ?? '';
  const now = cluster.now();
  const { token, expires } = tokens.issue({
    namespace,
    serviceAccount: { name: account.metadata.name, uid: account.metadata.uid ?? '' },
    audiences,
    expirationSeconds: seconds,
    now,
    ...boundObject(call, namespace, account.metadata.name, spec['boundObjectRef']),
  });
  const { name, uid } = account.metadata;
  const object: AnyObject = {
    ...sent,
    metadata: { name, namespace, ...(uid !== undefined && { uid }), creationTimestamp: timestamp(now) },
    spec: { ...spec, audiences, expirationSeconds: seconds },
  };
  const owned = recordUpdate(schema.prune({}, { mode: 'drop' }).object, sent, {
    strategyOf: (path) => schema.mergeStrategy(path),
    id: { manager: options.fieldManager, operation: 'Update', subresource: 'token', apiVersion: 'authentication.k8s.io/v1' },
    resetFields: [['status'], ['metadata']],
    now: timestamp(now),
  });
  const { managedFields } = owned.metadata;
  if (managedFields !== undefined) object.metadata.managedFields = managedFields;
  sendDocument(reply, 201, { ...object, status: { token, expirationTimestamp: timestamp(expires) } });
}

type Bound = Pick<Parameters<ServiceAccountTokens['issue']>[0], 'boundTo' | 'node'>;

function boundObject({ cluster }: ResourceCall, namespace: string, account: string, given: unknown): Bound {
  const ref = asObject(given);
  const { name, uid } = ref;
  if (ref['kind'] === undefined) return {};
  const kind = (['Pod', 'Secret', 'Node'] as const).find((bindable) => bindable === ref['kind']);
  if (kind === undefined) {
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account)} to object of type ${printed(ref['apiVersion'])}, Kind=${printed(ref['kind'])}`,
    );
  }
  const plural = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' }[kind];
  const object = cluster.store.get(`${plural}.`, kind === 'Node' ? '' : namespace, String(name))?.object;
  if (object === undefined) throw notFound({ group: '', plural }, String(name));
  const present = object.metadata.uid ?? '';
  if (typeof uid === 'string' && uid !== '' && uid !== present) {
    const why = `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw conflict({ group: '', plural }, object.metadata.name, why);
  }
  const boundTo = { kind, name: object.metadata.name, uid: present };
  if (kind !== 'Pod') return { boundTo };
  const podSpec = asObject(object['spec']);
  if (podSpec['serviceAccountName'] !== account) {
    throw badRequest(`cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`);
  }
  const nodeName = asString(podSpec['nodeName']);
  if (nodeName === undefined) return { boundTo };
  const nodeUid = cluster.store.get('nodes.', '', nodeName)?.object.metadata.uid;
  return { boundTo, node: { name: nodeName, ...(nodeUid !== undefined && { uid: nodeUid }) } };
}

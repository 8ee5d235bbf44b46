import { closeSync } from 'node:fs';

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import {
  AckSchema,
  Version,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
  type WorkloadRequest,
} from '../../api/gen/istio/zds_pb.js';
import { describeError, IsthmusError } from '../../core/index.ts';
import { NetworkNamespace, type SeqpacketMessage } from '../../linux/index.ts';
import type { WorkloadInfo } from '../state/model.ts';

/** What the CNI agent asks for, one packet each (package istio.workload.zds). */
export type ZdsMessage =
  | {
      readonly kind: 'add';
      readonly uid: string;
      /** Missing in a broken request, which the state answers as a protocol error. */
      readonly workloadInfo: WorkloadInfo | undefined;
      /** Owned by the receiver. */
      readonly namespace: NetworkNamespace;
    }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'delete'; readonly uid: string }
  | { readonly kind: 'snapshot-sent' };

/** The first packet of a connection, from ztunnel. */
export function helloPacket(): Uint8Array {
  return toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version: Version.V1 }));
}

/** The answer to one request: empty for success. */
export function ackPacket(error = ''): Uint8Array {
  const ack = create(AckSchema, { error });
  return toBinary(WorkloadResponseSchema, create(WorkloadResponseSchema, { payload: { case: 'ack', value: ack } }));
}

/** Packets are at most this long. */
export const maxZdsPacket = 1024;

/**
 * Reads one packet; its descriptors are owned by the result, or closed when there is none. ZTUNNEL_ZDS_MESSAGE for a packet
 * that is truncated, cannot be decoded, has no payload, or has other descriptors than its kind asks for.
 */
export function parseRequest(packet: SeqpacketMessage): ZdsMessage {
  const [descriptor, ...more] = packet.descriptors;
  if (more.length > 0) {
    for (const fd of packet.descriptors) closeSync(fd);
    throw unreadable(`Expected 1 FD, got ${packet.descriptors.length}`);
  }
  const namespace = descriptor === undefined ? undefined : adopt(descriptor);
  try {
    return withNamespace(decode(packet), namespace);
  } catch (error) {
    namespace?.[Symbol.dispose]();
    throw error;
  }
}

function adopt(descriptor: number): NetworkNamespace {
  try {
    return NetworkNamespace.fromDescriptor(descriptor);
  } catch (error) {
    throw unreadable(describeError(error), error);
  }
}

function decode(packet: SeqpacketMessage): WorkloadRequest['payload'] {
  if (packet.truncated) throw unreadable('received truncated message');
  try {
    return fromBinary(WorkloadRequestSchema, packet.data).payload;
  } catch (error) {
    throw unreadable('failed to decode Protobuf message', error);
  }
}

function withNamespace(payload: WorkloadRequest['payload'], namespace: NetworkNamespace | undefined): ZdsMessage {
  if (payload.case === undefined) throw unreadable('no payload');
  if (payload.case === 'add') {
    if (namespace === undefined) throw unreadable('No control message');
    const { uid, workloadInfo } = payload.value;
    return {
      kind: 'add',
      uid,
      namespace,
      workloadInfo:
        workloadInfo === undefined
          ? undefined
          : { name: workloadInfo.name, namespace: workloadInfo.namespace, serviceAccount: workloadInfo.serviceAccount },
    };
  }
  if (namespace !== undefined) throw unreadable('Unexpected control message');
  if (payload.case === 'keep') return { kind: 'keep', uid: payload.value.uid };
  if (payload.case === 'del') return { kind: 'delete', uid: payload.value.uid };
  return { kind: 'snapshot-sent' };
}

function unreadable(message: string, cause?: unknown): IsthmusError {
  return new IsthmusError('ZTUNNEL_ZDS_MESSAGE', message, cause === undefined ? {} : { cause });
}

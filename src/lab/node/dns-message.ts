import {
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
  type DecodedPacket,
} from 'dns-packet';

import { rcodes, type Reply } from './dns-zone.ts';

/** The largest UDP payload that is sent without fragmentation on any path (DNS flag day 2020). */
const largestPayload = 1232;
/** What a client that says nothing can take (RFC 1035). */
const smallestPayload = 512;

const headerLength = 12;

/** A query, or the code of the error that a message deserves; undefined for what must not be answered at all. */
export function parseQuery(bytes: Buffer): { readonly query: DecodedPacket } | { readonly error: Buffer } | undefined {
  if (bytes.length < headerLength) return undefined;
  const flags = bytes.readUInt16BE(2);
  // A response: answering those makes loops.
  if ((flags & 0x8000) !== 0) return undefined;
  if (((flags >> 11) & 0xf) !== 0) return { error: errorMessage(bytes, rcodes.notImplemented) };
  try {
    const query = decode(bytes);
    const [question, ...others] = query.questions ?? [];
    if (question === undefined || others.length > 0) return { error: errorMessage(bytes, rcodes.formatError) };
    if (question.class !== undefined && question.class !== 'IN') return { error: errorMessage(bytes, rcodes.refused) };
    return { query };
  } catch {
    return { error: errorMessage(bytes, rcodes.formatError) };
  }
}

/** A header alone: same id, same recursion flag, a code. */
export function errorMessage(query: Buffer, rcode: number): Buffer {
  const header = Buffer.alloc(headerLength);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  header.writeUInt16BE(0x8000 | (query.readUInt16BE(2) & RECURSION_DESIRED) | rcode, 2);
  return header;
}

/** The bytes that answer a query; over UDP with the truncation flag and no records when they are too many for the client. */
export function encodeReply(query: DecodedPacket, reply: Reply, transport: 'udp' | 'tcp'): Buffer {
  const edns = query.additionals?.find((record) => record.type === 'OPT');
  const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | (query.flag_rd ? RECURSION_DESIRED : 0) | reply.rcode;
  const options =
    edns === undefined
      ? []
      : [
          {
            type: 'OPT' as const,
            name: '.',
            udpPayloadSize: largestPayload,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ];
  const base = { type: 'response' as const, id: query.id ?? 0, questions: query.questions ?? [] };
  const whole = encode({
    ...base,
    flags,
    answers: [...reply.answers],
    authorities: [...(reply.authorities ?? [])],
    additionals: [...(reply.additionals ?? []), ...options],
  });
  if (transport === 'tcp') return whole;
  const limit = edns === undefined ? smallestPayload : Math.max(smallestPayload, Math.min(edns.udpPayloadSize, largestPayload));
  if (whole.length <= limit) return whole;
  return encode({ ...base, flags: flags | TRUNCATED_RESPONSE, additionals: options });
}

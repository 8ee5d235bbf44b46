import { decode, type DecodedPacket, type OptAnswer } from 'dns-packet';
import ipaddr from 'ipaddr.js';

import { isIPv4 } from '../state/address.ts';

/** Result codes of RFC 1035 and 6895. */
export const rcodes = { success: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;
type Rcode = (typeof rcodes)[keyof typeof rcodes];

/** A query as it came, with what the proxy needs of it. */
export interface DnsQuery {
  readonly bytes: Buffer;
  readonly id: number;
  /** Bits of the second header word. */
  readonly flags: number;
  /** The question as in the packet: its bytes are echoed, so that a client's mixed case comes back. */
  readonly question: Buffer;
  /** Lower case, without the dot at the end. */
  readonly name: string;
  /** For example `A`, `AAAA`, `TXT`. */
  readonly type: string;
  readonly isInternet: boolean;
  /** The client's EDNS, if it speaks that: the longest UDP answer it takes, and its flags. */
  readonly edns: { readonly payload: number; readonly dnssecOk: boolean } | undefined;
}

/** A packet that cannot be answered from the mesh or passed on: what to answer, or undefined for nothing at all. */
export interface Malformed {
  readonly malformed: true;
  readonly answer: Buffer | undefined;
}

const headerLength = 12;
const flagBits = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
} as const;

/** Reads a query. Responses, other opcodes and garbage are {@link Malformed}, with FORMERR or NOTIMP to answer. */
export function parseQuery(bytes: Buffer): DnsQuery | Malformed {
  // Without an identifier there is nobody to answer.
  if (bytes.length < headerLength) return { malformed: true, answer: undefined };
  const flags = bytes.readUInt16BE(2);
  if ((flags & flagBits.response) !== 0) return malformed(bytes, rcodes.formatError);
  if ((flags & flagBits.opcode) !== 0) return malformed(bytes, rcodes.notImplemented);
  const end = questionEnd(bytes);
  if (bytes.readUInt16BE(4) !== 1 || end === undefined) return malformed(bytes, rcodes.formatError);
  let packet: DecodedPacket;
  try {
    packet = decode(bytes);
  } catch {
    return malformed(bytes, rcodes.formatError);
  }
  const [question] = packet.questions ?? [];
  if (question === undefined) return malformed(bytes, rcodes.formatError);
  const opt = packet.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
  return {
    bytes,
    id: bytes.readUInt16BE(0),
    flags,
    question: bytes.subarray(headerLength, end),
    name: question.name.toLowerCase().replace(/\.$/, ''),
    type: question.type,
    isInternet: question.class === undefined || question.class === 'IN',
    edns: opt === undefined ? undefined : { payload: opt.udpPayloadSize, dnssecOk: opt.flag_do },
  };
}

/** Where the one question ends; undefined when it is cut off or its name is compressed, which no query is. */
function questionEnd(bytes: Buffer): number | undefined {
  let offset = headerLength;
  for (;;) {
    const length = bytes[offset];
    if (length === undefined || length > 63) return undefined;
    offset += 1 + length;
    if (length === 0) break;
  }
  return offset + 4 <= bytes.length ? offset + 4 : undefined;
}

function malformed(bytes: Buffer, rcode: Rcode): Malformed {
  const answer = Buffer.alloc(headerLength);
  bytes.copy(answer, 0, 0, 2);
  answer.writeUInt16BE(
    flagBits.response | (bytes.readUInt16BE(2) & (flagBits.opcode | flagBits.recursionDesired)) | flagBits.recursionAvailable | rcode,
    2,
  );
  return { malformed: true, answer };
}

export interface AnswerContent {
  readonly rcode: Rcode;
  /** Whether the mesh answers for itself. */
  readonly authoritative: boolean;
  /** Seconds. */
  readonly ttl?: number;
  /** The name that the query stands for, which then owns the addresses. */
  readonly canonicalName?: string | undefined;
  readonly addresses?: readonly string[];
  /** Zone whose start of authority goes along, so that the absence of what was asked may be remembered for `ttl` seconds (RFC 2308). */
  readonly authority?: string;
}

const types = { A: 1, CNAME: 5, SOA: 6, AAAA: 28, OPT: 41 } as const;
const classInternet = 1;
/** A compressed name: "as in the question". */
const nameOfQuestion = Buffer.from([0xc0, headerLength]);

/** Longest answer that fits: over UDP what the client said, at least 512 bytes (RFC 6891). */
export function maxUdpAnswer(query: DnsQuery): number {
  return Math.max(512, query.edns?.payload ?? 512);
}

/** The answer to a query, with at most `maxLength` bytes: records that do not fit are left out and the answer says so (TC). */
export function encodeAnswer(query: DnsQuery, content: AnswerContent, maxLength: number): Buffer {
  const { ttl = 0 } = content;
  const records: Buffer[] = [];
  let owner = nameOfQuestion;
  if (content.canonicalName !== undefined) {
    records.push(record(nameOfQuestion, types.CNAME, ttl, encodeName(content.canonicalName)));
    // The name of the CNAME's data, which is the first record's: after the header, the question and the record's fixed part.
    const offset = headerLength + query.question.length + nameOfQuestion.length + 10;
    owner = Buffer.from([0xc0 | (offset >> 8), offset & 0xff]);
  }
  for (const address of content.addresses ?? []) {
    records.push(record(owner, isIPv4(address) ? types.A : types.AAAA, ttl, Buffer.from(ipaddr.parse(address).toByteArray())));
  }
  const authority = content.authority === undefined ? [] : [startOfAuthority(content.authority, ttl)];
  const opt = query.edns === undefined ? [] : [optRecord(query.edns)];
  const fixed = headerLength + query.question.length + [...authority, ...opt].reduce((sum, part) => sum + part.length, 0);
  const fitting = takeWhileFitting(records, maxLength - fixed);
  const header = Buffer.alloc(headerLength);
  header.writeUInt16BE(query.id, 0);
  header.writeUInt16BE(
    flagBits.response |
      (query.flags & flagBits.recursionDesired) |
      flagBits.recursionAvailable |
      (content.authoritative ? flagBits.authoritative : 0) |
      (fitting.length < records.length ? flagBits.truncated : 0) |
      content.rcode,
    2,
  );
  [1, fitting.length, authority.length, opt.length].forEach((count, index) => header.writeUInt16BE(count, 4 + 2 * index));
  return Buffer.concat([header, query.question, ...fitting, ...authority, ...opt]);
}

/** A forwarded answer for the client: its own identifier, and not authoritative. */
export function relabelAnswer(answer: Buffer, query: DnsQuery): Buffer {
  const copy = Buffer.from(answer);
  copy.writeUInt16BE(query.id, 0);
  copy.writeUInt16BE((copy.readUInt16BE(2) & ~flagBits.authoritative) | flagBits.recursionAvailable, 2);
  return copy;
}

/** Whether a packet answers a query that was sent with `id`: the same identifier and question, and a response. */
export function isAnswerTo(answer: Buffer, query: DnsQuery, id: number): boolean {
  if (answer.length < headerLength || answer.readUInt16BE(0) !== id || (answer.readUInt16BE(2) & flagBits.response) === 0) return false;
  // A server that cannot read the question may leave it out.
  if (answer.readUInt16BE(4) === 0) return answer.length === headerLength;
  const question = answer.subarray(headerLength, headerLength + query.question.length);
  return (
    question.length === query.question.length &&
    question.toString('latin1').toLowerCase() === query.question.toString('latin1').toLowerCase()
  );
}

export function isTruncated(answer: Buffer): boolean {
  return (answer.readUInt16BE(2) & flagBits.truncated) !== 0;
}

function takeWhileFitting(records: readonly Buffer[], room: number): readonly Buffer[] {
  let used = 0;
  const firstOver = records.findIndex((part) => (used += part.length) > room);
  return firstOver === -1 ? records : records.slice(0, firstOver);
}

function record(owner: Buffer, type: number, ttl: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(classInternet, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, fixed, data]);
}

function startOfAuthority(zone: string, ttl: number): Buffer {
  const timers = Buffer.alloc(20);
  [1, 7200, 1800, 86400, ttl].forEach((value, index) => timers.writeUInt32BE(value, 4 * index));
  return record(encodeName(zone), types.SOA, ttl, Buffer.concat([encodeName(`ns.dns.${zone}`), encodeName(`hostmaster.${zone}`), timers]));
}

function optRecord({ payload, dnssecOk }: NonNullable<DnsQuery['edns']>): Buffer {
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(types.OPT, 1);
  opt.writeUInt16BE(Math.max(512, payload), 3);
  opt.writeUInt32BE(dnssecOk ? 0x8000 : 0, 5);
  return opt;
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
}

import ipaddr from 'ipaddr.js';

import type { SocketTarget } from './outbound-request.ts';

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const versionProxy = 0x21;
const familyIPv4Stream = 0x11;
const familyIPv6Stream = 0x21;
/** Type of the TLV that carries the client's SPIFFE identity, as Istio's waypoints read it. */
const identityTlv = 0xd0;

/** The PROXY protocol header, version 2, that tells an application behind a tunnel who calls whom. */
export function proxyProtocolHeader(options: {
  readonly client: SocketTarget;
  readonly target: SocketTarget;
  readonly identity: string;
}): Buffer {
  const client = ipaddr.parse(options.client.host);
  const target = ipaddr.parse(options.target.host);
  const v4 = client.kind() === 'ipv4' && target.kind() === 'ipv4';
  const addresses = [client, target].flatMap((address) => (v4 || address.kind() === 'ipv6' ? address.toByteArray() : mapped(address)));
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(options.client.port, 0);
  ports.writeUInt16BE(options.target.port, 2);
  const identity = Buffer.from(options.identity);
  const tlv = Buffer.alloc(3);
  tlv.writeUInt8(identityTlv, 0);
  tlv.writeUInt16BE(identity.length, 1);
  const body = Buffer.concat([Buffer.from(addresses), ports, tlv, identity]);
  const head = Buffer.alloc(4);
  head.writeUInt8(versionProxy, 0);
  head.writeUInt8(v4 ? familyIPv4Stream : familyIPv6Stream, 1);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([signature, head, body]);
}

function mapped(address: ipaddr.IPv4 | ipaddr.IPv6): number[] {
  return (address as ipaddr.IPv4).toIPv4MappedAddress().toByteArray();
}

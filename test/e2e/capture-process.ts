/**
 * Captures the TCP segments of one interface: a process of its own, started inside the lab's network namespace.
 * Prints `ready` once it listens, then on SIGTERM one JSON document of the flows it saw (see capture.ts).
 */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)') as (domain: number, type: number, protocol: number) => number;
const bind = libc.func('int bind(int fd, void *address, uint32_t length)') as (fd: number, address: Buffer, length: number) => number;
const recv = libc.func('int64_t recv(int fd, void *buffer, uint64_t length, int flags)') as (
  fd: number,
  buffer: Buffer,
  length: number,
  flags: number,
) => number;
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t length)') as (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: number,
) => number;

// Not from /sys, which shows the network namespace that it was mounted in.
const interfaceIndex = libc.func('uint32_t if_nametoindex(const char *name)') as (name: string) => number;

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0o4000;
// All of them: a frame that a bridge takes is shown to no socket of one protocol.
const ETH_P_ALL = 3;
const ETHERTYPE_IPV4 = 0x0800;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

/** How much of each flow's beginning is kept, bytes: enough for a TLS hello or a request line. */
const headBytes = 4096;

interface Flow {
  bytes: number;
  readonly head: Buffer[];
  headLength: number;
}

const [interfaceName = 'lo', ...needles] = process.argv.slice(2);
const flows = new Map<string, Flow>();
const found = new Map<string, number>(needles.map((needle) => [needle, 0]));
const wanted = needles.map((needle) => ({ needle, bytes: Buffer.from(needle) }));

const fd = open(interfaceName);
const frame = Buffer.alloc(1 << 18);
const timer = setInterval(drain, 2);
process.on('SIGTERM', () => {
  clearInterval(timer);
  drain();
  const summary = {
    flows: [...flows].map(([flow, { bytes, head }]) => ({ flow, bytes, head: Buffer.concat(head).toString('base64') })),
    found: Object.fromEntries(found),
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`, () => process.exit(0));
});
process.stdout.write('ready\n');

function open(name: string): number {
  const opened = socket(AF_PACKET, SOCK_RAW_NONBLOCK, htons(ETH_P_ALL));
  if (opened < 0) throw new Error('no packet socket: CAP_NET_RAW is missing');
  const size = Buffer.alloc(4);
  size.writeInt32LE(32 << 20);
  setsockopt(opened, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ALL, 2);
  address.writeInt32LE(interfaceIndex(name), 4);
  if (bind(opened, address, address.length) < 0) throw new Error(`cannot capture on ${name}`);
  return opened;
}

function htons(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

function drain(): void {
  for (;;) {
    const length = recv(fd, frame, frame.length, 0);
    if (length <= 0) return;
    if (frame.readUInt16BE(12) === ETHERTYPE_IPV4) segment(frame.subarray(14, length));
  }
}

function segment(packet: Buffer): void {
  if (packet.length < 40 || (packet[0] ?? 0) >> 4 !== 4 || packet[9] !== 6) return;
  const ipHeader = ((packet[0] ?? 0) & 0xf) * 4;
  const tcp = packet.subarray(ipHeader, packet.readUInt16BE(2));
  const payload = tcp.subarray(((tcp[12] ?? 0) >> 4) * 4);
  const name = `${dotted(packet, 12)}:${String(tcp.readUInt16BE(0))}>${dotted(packet, 16)}:${String(tcp.readUInt16BE(2))}`;
  let flow = flows.get(name);
  if (flow === undefined) flows.set(name, (flow = { bytes: 0, head: [], headLength: 0 }));
  flow.bytes += payload.length;
  if (flow.headLength < headBytes && payload.length > 0) {
    flow.head.push(Buffer.from(payload.subarray(0, headBytes - flow.headLength)));
    flow.headLength += payload.length;
  }
  for (const { needle, bytes } of wanted) if (payload.includes(bytes)) found.set(needle, (found.get(needle) ?? 0) + 1);
}

function dotted(packet: Buffer, at: number): string {
  return [...packet.subarray(at, at + 4)].join('.');
}

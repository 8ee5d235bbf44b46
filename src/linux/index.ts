/**
 * Linux as Node does not show it: network namespaces and sockets in them, where a redirected connection was going,
 * unix packets with descriptors, system programs. Nothing about Kubernetes or Istio may enter.
 */
export { applyNftables, runCommand, spawnInside, type RunCommandOptions } from './command.ts';
export type { SocketAddress } from './address.ts';
export { unmapped } from './address.ts';
export { SyscallError } from './errors.ts';
export { bindMount, unmount } from './mount.ts';
export { NetworkNamespace } from './namespace.ts';
export {
  connectSeqpacket,
  listenSeqpacket,
  SeqpacketConnection,
  SeqpacketListener,
  type ListenSeqpacketOptions,
  type SeqpacketMessage,
  type SeqpacketOptions,
} from './seqpacket.ts';
export { processExit, processStartTime } from './process.ts';
export { openPseudoTerminal, resizeTerminal, type PseudoTerminal } from './pty.ts';
export type { SocketOptions } from './socket.ts';
export { connectTcp, listenTcp, originalDestination, type ConnectTcpOptions, type KeepAliveOptions, type ListenTcpOptions } from './tcp.ts';
export { bindUdp, type BindUdpOptions } from './udp.ts';

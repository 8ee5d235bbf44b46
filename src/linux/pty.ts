import { closeSync, constants, openSync } from 'node:fs';

import { checked, int32, ioctlPointer } from './libc.ts';

const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;

/** Both ends of a new pseudo terminal. */
export interface PseudoTerminal {
  /** The master: what the user types goes in, what the program prints comes out. */
  readonly master: number;
  /** The slave: the program's standard input, output and error. */
  readonly slave: number;
}

/**
 * Makes a pseudo terminal (pty(7)) of the devpts that is mounted on `devpts`: programs that see this mount know its name.
 * LINUX_SYSCALL. The caller closes both ends.
 */
export function openPseudoTerminal(devpts = '/dev/pts'): PseudoTerminal {
  const master = openSync(`${devpts}/ptmx`, constants.O_RDWR | constants.O_NOCTTY);
  try {
    const number = Buffer.alloc(4);
    checked(ioctlPointer(master, TIOCSPTLCK, int32(0)), 'ioctl(TIOCSPTLCK)', 'unlock a pseudo terminal');
    checked(ioctlPointer(master, TIOCGPTN, number), 'ioctl(TIOCGPTN)', 'number of a pseudo terminal');
    return { master, slave: openSync(`${devpts}/${number.readUInt32LE()}`, constants.O_RDWR | constants.O_NOCTTY) };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Sets the terminal's size in characters; the programs on it get SIGWINCH. LINUX_SYSCALL. */
export function resizeTerminal(master: number, size: { readonly columns: number; readonly rows: number }): void {
  const winsize = Buffer.alloc(8);
  winsize.writeUInt16LE(size.rows, 0);
  winsize.writeUInt16LE(size.columns, 2);
  checked(ioctlPointer(master, TIOCSWINSZ, winsize), 'ioctl(TIOCSWINSZ)', 'resize a terminal');
}

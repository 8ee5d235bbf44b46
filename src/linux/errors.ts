import { getSystemErrorName } from 'node:util';

import { IsthmusError } from '../core/index.ts';

/** A system call failed: an IsthmusError with the code LINUX_SYSCALL that says which call and why. */
export class SyscallError extends IsthmusError {
  /** For example `setns`. */
  readonly syscall: string;
  /** The reason's name, for example `ECONNREFUSED`. */
  readonly errno: string;
  /** Its number, positive, as in errno(3). */
  readonly errnoNumber: number;

  constructor(options: { syscall: string; what: string; errno: string; number: number; hint?: string; cause?: unknown }) {
    const { syscall, what, errno, number, hint, cause } = options;
    super('LINUX_SYSCALL', `${what}: ${syscall}: ${errno}`, {
      ...(hint === undefined ? {} : { hint }),
      ...(cause === undefined ? {} : { cause }),
    });
    this.name = 'SyscallError';
    this.syscall = syscall;
    this.errno = errno;
    this.errnoNumber = number;
  }

  /** The error of one of Node's own operations as a SyscallError; anything that is not one stays what it is. */
  static from(error: unknown, what: string): unknown {
    if (error instanceof SyscallError || !(error instanceof Error)) return error;
    const { errno, syscall } = error as NodeJS.ErrnoException;
    if (errno === undefined || syscall === undefined) return error;
    return new SyscallError({ syscall, what, errno: getSystemErrorName(errno), number: -errno, cause: error });
  }
}

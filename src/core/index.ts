/**
 * What every room leans on: errors and their codes, logging, time, retrying, the life of a process.
 * Nothing about Kubernetes, Istio or Linux may enter.
 */
export { IsthmusError, describeError, errorCodes, type ErrorCode } from './errors.ts';
export { createLogger, type Logger } from './log.ts';
export { Backoff, retry, sleep, systemClock, withTimeout, type BackoffOptions, type Clock } from './time.ts';
export { aborted, runUntilStopped } from './lifetime.ts';

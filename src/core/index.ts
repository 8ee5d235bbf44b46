/**
 * What every room leans on: errors and their codes, logging, time, retrying, the life of a process and its
 * pages for probes.
 * Nothing about Kubernetes, Istio or Linux may enter.
 */
export { IsthmusError, describeError, errorCodes, type ErrorCode } from './errors.ts';
export { createLogger, type Logger } from './log.ts';
export { Backoff, retry, sleep, systemClock, withTimeout, type BackoffOptions, type Clock } from './time.ts';
export { aborted, runUntilStopped } from './lifetime.ts';
export { Parts } from './parts.ts';
export { HttpPages, jsonAnswer, type HttpAnswer, type Page } from './http-pages.ts';
export { anyHost, parseListenAddress, type ListenAddress } from './listen-address.ts';

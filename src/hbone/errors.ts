import { IsthmusError } from '../core/index.ts';

/** Error codes of HTTP/2 (RFC 9113, section 7). */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

const names = new Map<number, string>(Object.entries(ErrorCode).map(([name, code]) => [code, name]));

export function errorCodeName(code: number): string {
  return names.get(code) ?? `error ${code}`;
}

/** The peer broke a rule that ends the whole connection; it is told why by GOAWAY. */
export class Http2Error extends IsthmusError {
  readonly errorCode: ErrorCode;

  constructor(errorCode: ErrorCode, message: string) {
    super('HBONE_PROTOCOL', `${message} (${errorCodeName(errorCode)})`);
    this.name = 'Http2Error';
    this.errorCode = errorCode;
  }
}

/** The rules of HTTP/2 say that this never comes. */
export function protocolError(what: string): Http2Error {
  return new Http2Error(ErrorCode.PROTOCOL_ERROR, what);
}

/** A frame whose length does not fit its type. */
export function sizeError(what: string, payload: Buffer): Http2Error {
  return new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `${what} of ${payload.length} bytes`);
}

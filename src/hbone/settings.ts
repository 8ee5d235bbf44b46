import { ErrorCode, Http2Error } from './errors.ts';
import { defaultMaxFrameSize, defaultWindow, maxWindow, SettingId } from './frames.ts';

/** What one side announces about itself; fields that are left out are not sent and keep the protocol's default. */
export interface LocalSettings {
  readonly initialWindowSize: number;
  readonly maxFrameSize: number;
  readonly maxHeaderListSize: number;
  /** Only servers bound the streams that clients open. */
  readonly maxConcurrentStreams?: number;
  /** Window of the whole connection, announced by a first WINDOW_UPDATE. Bytes. */
  readonly connectionWindowSize: number;
}

/** What upstream's ztunnel announces as a HBONE client. */
export const clientSettings: LocalSettings = {
  initialWindowSize: 4 * 1024 * 1024,
  maxFrameSize: 1024 * 1024,
  maxHeaderListSize: 16 * 1024,
  connectionWindowSize: 16 * 1024 * 1024,
};

/** What upstream's ztunnel announces as a HBONE server. */
export const serverSettings: LocalSettings = {
  initialWindowSize: 4 * 1024 * 1024,
  maxFrameSize: 1024 * 1024,
  maxHeaderListSize: 64 * 1024,
  maxConcurrentStreams: 200,
  connectionWindowSize: 16 * 1024 * 1024,
};

/** Ids and values of a SETTINGS frame, in ascending order of the ids. */
export function encodeSettings(role: 'client' | 'server', settings: LocalSettings): [id: number, value: number][] {
  const list: [number, number][] = [];
  if (role === 'client') list.push([SettingId.ENABLE_PUSH, 0]);
  if (settings.maxConcurrentStreams !== undefined) list.push([SettingId.MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams]);
  list.push(
    [SettingId.INITIAL_WINDOW_SIZE, settings.initialWindowSize],
    [SettingId.MAX_FRAME_SIZE, settings.maxFrameSize],
    [SettingId.MAX_HEADER_LIST_SIZE, settings.maxHeaderListSize],
  );
  return list;
}

/** What the peer has announced; starts with the protocol's defaults. */
export class PeerSettings {
  headerTableSize = 4096;
  /** undefined: no bound. */
  maxConcurrentStreams: number | undefined;
  initialWindowSize = defaultWindow;
  maxFrameSize = defaultMaxFrameSize;
  /** Whether a SETTINGS frame has arrived. */
  received = false;

  /** Takes over the payload of a SETTINGS frame; unknown ids are ignored. Throws {@link Http2Error} for bad values. */
  apply(payload: Buffer, role: 'client' | 'server'): void {
    if (payload.length % 6 !== 0) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `SETTINGS of ${payload.length} bytes`);
    for (let at = 0; at < payload.length; at += 6) this.#set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2), role);
    this.received = true;
  }

  #set(id: number, value: number, role: 'client' | 'server'): void {
    switch (id) {
      case SettingId.HEADER_TABLE_SIZE:
        this.headerTableSize = value;
        break;
      case SettingId.ENABLE_PUSH:
        if (value > 1 || (value === 1 && role === 'client')) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `ENABLE_PUSH ${value}`);
        break;
      case SettingId.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > maxWindow) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, `INITIAL_WINDOW_SIZE ${value}`);
        this.initialWindowSize = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < defaultMaxFrameSize || value > 0xff_ffff) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `MAX_FRAME_SIZE ${value}`);
        this.maxFrameSize = value;
        break;
    }
  }
}

import type { IncomingMessage } from 'node:http';

import type { KubeObject, Status } from '../api/kubernetes.ts';
import { KubeApiError } from './api-error.ts';

/** One line of a watch. A bookmark's object has only its resourceVersion. */
export interface WatchEvent<T extends KubeObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

/** The events of a watch answer, as they come; an ERROR event is thrown as KubeApiError. Ends when the server ends it. */
export async function* watchEvents<T extends KubeObject>(
  response: IncomingMessage,
  what: string,
): AsyncGenerator<WatchEvent<T>, void, void> {
  let rest: Buffer[] = [];
  for await (const chunk of response) {
    let from = 0;
    const bytes = chunk as Buffer;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      rest.push(bytes.subarray(from, end));
      const line = Buffer.concat(rest).toString('utf8');
      rest = [];
      from = end + 1;
      if (line.trim() === '') continue;
      const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: Status };
      if (event.type === 'ERROR') throw new KubeApiError(`watch ${what}`, event.object.code ?? 0, event.object);
      yield event;
    }
    if (from < bytes.length) rest.push(bytes.subarray(from));
  }
}

import type { IncomingMessage } from 'node:http';

import { parse as parseYaml } from 'yaml';

import { goSyntaxError } from '../rest/list.ts';
import { decodeProtobuf } from '../schema/index.ts';
import { badRequest, tooLarge, unsupportedMediaType } from '../status.ts';

/** Kubernetes' own limit for a request's body, bytes. */
const limit = 3 * 1024 * 1024;

/** The type of a body, without parameters. */
export function contentType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/** The whole body; throws the API's 413. */
export async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** A body as an object, by its content type; `kind` names what is expected in errors. Throws the API's 400 and 415. */
export function decodeBytes(bytes: Buffer, type: string, kind: string): unknown {
  switch (type) {
    case '':
    case '*/*':
    case 'application/json':
      return parseJson(bytes.toString('utf8'), kind);
    case 'application/yaml':
      return parseYamlText(bytes.toString('utf8'));
    case 'application/vnd.kubernetes.protobuf':
      try {
        return decodeProtobuf(bytes);
      } catch (error) {
        throw badRequest(
          `the object provided is unrecognized (must be of type ${kind}): ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    default:
      throw unsupportedMediaType(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
  }
}

/** The body of a patch; server-side apply sends YAML, of which JSON is a part. */
export function decodePatch(bytes: Buffer, type: string): unknown {
  const text = bytes.toString('utf8');
  if (type === 'application/apply-patch+yaml' && !text.trimStart().startsWith('{')) return parseYamlText(text);
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest(`error decoding patch: ${goSyntaxError(text)}`);
  }
}

function parseJson(text: string, kind: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const why = `couldn't get version/kind; json parse error: ${goSyntaxError(text)}`;
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why} (${text.slice(0, 200)})`);
  }
}

function parseYamlText(text: string): unknown {
  try {
    // YAML can refer to itself; a JSON document cannot, and an object is one.
    return JSON.parse(JSON.stringify(parseYaml(text) ?? null)) as unknown;
  } catch (error) {
    throw badRequest(`error decoding YAML: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`);
  }
}

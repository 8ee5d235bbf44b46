import path from 'node:path';

/**
 * The rooms of src/, from the ground up (ARCHITECTURE.md): a room imports only rooms before it.
 */
const order = [
  'core',
  'linux',
  'api',
  'kube',
  'collections',
  'pki',
  'xds',
  'mesh',
  'peering',
  'istiod',
  'hbone',
  'ztunnel',
  'cni',
  'lab',
  'cli',
];

/** These meet on a wire, never in an import. */
const processes = new Set(['istiod', 'ztunnel', 'cni', 'lab']);

const src = path.resolve(import.meta.dirname, '../src');

/** The room of a file under src/, and whether the file is that room's door. */
function place(file) {
  const [room, ...rest] = path.relative(src, file).split(path.sep);
  return order.includes(room) ? { room, inner: rest.join('/') } : undefined;
}

const roomOrder = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      order: 'The room {{from}} may not import from {{to}}: rooms import only rooms below them (ARCHITECTURE.md).',
      wire: '{{from}} and {{to}} meet on a wire, never in an import (ARCHITECTURE.md).',
      door: 'Import {{to}} through its door src/{{to}}/index.ts.',
    },
  },
  create(context) {
    const here = place(context.filename);
    const visit = (node) => {
      const source = node.source?.value;
      if (typeof source !== 'string' || !source.startsWith('.')) return;
      const target = place(path.resolve(path.dirname(context.filename), source));
      if (target === undefined || target.room === here?.room) return;
      const data = { from: here?.room ?? 'this file', to: target.room };
      if (here !== undefined) {
        if (order.indexOf(target.room) > order.indexOf(here.room)) context.report({ node, messageId: 'order', data });
        else if (processes.has(here.room) && processes.has(target.room)) context.report({ node, messageId: 'wire', data });
      }
      if (here !== undefined && target.room !== 'api' && target.inner !== 'index.ts') context.report({ node, messageId: 'door', data });
    };
    return { ImportDeclaration: visit, ExportNamedDeclaration: visit, ExportAllDeclaration: visit, ImportExpression: visit };
  },
};

export const roomsPlugin = { rules: { 'room-order': roomOrder } };

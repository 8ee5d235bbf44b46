import { test } from 'node:test';
import path from 'node:path';

import { RuleTester } from 'eslint';

import { roomsPlugin } from '../scripts/eslint-rooms.js';

const file = (name: string): string => path.resolve(import.meta.dirname, '../src', name);

test('the lint rule holds the room order', () => {
  new RuleTester().run('room-order', roomsPlugin.rules['room-order'], {
    valid: [
      { code: "import { x } from '../core/index.ts';", filename: file('ztunnel/a.ts') },
      { code: "import { x } from './b.ts';", filename: file('ztunnel/a.ts') },
      { code: "import { x } from '../api/names.ts';", filename: file('mesh/a.ts') },
      { code: "export * from '../../linux/index.ts';", filename: file('lab/node/a.ts') },
      { code: "import x from 'node:fs';", filename: file('core/a.ts') },
    ],
    invalid: [
      { code: "import { x } from '../kube/index.ts';", filename: file('core/a.ts'), errors: [{ messageId: 'order' }] },
      { code: "import { x } from '../istiod/index.ts';", filename: file('ztunnel/a.ts'), errors: [{ messageId: 'wire' }] },
      { code: "await import('../ztunnel/index.ts');", filename: file('istiod/a.ts'), errors: [{ messageId: 'order' }] },
      { code: "import { x } from '../core/time.ts';", filename: file('xds/a.ts'), errors: [{ messageId: 'door' }] },
    ],
  });
});

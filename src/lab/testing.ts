import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';

const marker = 'ISTHMUS_TEST_ISOLATED';

/**
 * For test files that use whole address ranges, ports or `/run`: runs their tests in network, mount and PID namespaces of
 * their own, since those of a test run are shared by all files of the run. `file` is the calling one; what `define` defines
 * is run in its second life, and shown as one test in the first.
 */
export function isolated(file: string, define: () => void): void {
  if (process.env[marker] !== undefined) {
    define();
    return;
  }
  test(`${path.basename(file)}, in namespaces of its own`, async () => {
    const env: NodeJS.ProcessEnv = { ...process.env, [marker]: '1', NODE_NO_WARNINGS: '1' };
    // What Node's test runner tells its own children would make the report binary.
    delete env['NODE_TEST_CONTEXT'];
    const script = 'mount -t tmpfs tmpfs /run; ip link set lo up; exec "$@"';
    const flags = ['--mount', '--net', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
    const program = [process.execPath, '--test-reporter=spec', '--test-force-exit', file];
    const child = spawn('unshare', [...flags, 'sh', '-euc', script, 'sh', ...program], { stdio: 'inherit', env });
    assert.deepEqual(await once(child, 'exit'), [0, null], 'its report is above');
  });
}

/**
 * What runs in the pods of the tested service: it tells who answers, and on which port. Like Istio's helloworld, but for the second
 * port and for `/ready`, which fails while the file /tmp/out-of-service is there.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';

const version = process.env['SERVICE_VERSION'] ?? 'v1';

for (const port of [5000, 5001]) {
  createServer((request, response) => {
    const isReady = request.url !== '/ready' || !existsSync('/tmp/out-of-service');
    const body = JSON.stringify({ version, instance: hostname(), port });
    response.writeHead(isReady ? 200 : 503, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
  }).listen(port, '0.0.0.0');
}
process.once('SIGTERM', () => process.exit(0));

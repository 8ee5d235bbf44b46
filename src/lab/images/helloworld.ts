import { createServer } from 'node:http';
import { hostname } from 'node:os';

/**
 * What runs in `docker.io/istio/examples-helloworld-v1` and `-v2`: Istio's sample says its version and its pod's name. Its
 * requests are counted by nobody and wait for nothing, unlike the original's, which computes for a while.
 */
const version = process.env['SERVICE_VERSION'] ?? 'v1';
const port = 5000;

const server = createServer((request, response) => {
  const path = (request.url ?? '/').split('?', 1)[0];
  const [status, text] =
    path === '/hello'
      ? [200, `Hello version: ${version}, instance: ${hostname()}\n`]
      : path === '/health'
        ? [200, 'Helloworld is healthy\n']
        : [404, 'Not Found\n'];
  response.writeHead(status, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    Server: 'helloworld',
  });
  response.end(request.method === 'HEAD' ? undefined : text);
});

server.listen(port, '0.0.0.0');
process.once('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

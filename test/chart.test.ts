import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { Ajv } from 'ajv';
import { parse, parseAllDocuments } from 'yaml';

import { gatewayApiCrds } from '../src/api/crds/index.ts';
import type { KubeObject } from '../src/api/kubernetes.ts';
import { resources } from '../src/api/resources.ts';
import { defaultImage, version } from '../src/api/version.ts';
import { resourceTypeOf } from '../src/cli/apply.ts';
import { peeringManifests, type PeeringManifestOptions } from '../src/cli/install/peering.ts';
import { writeLink } from '../src/cli/multicluster/link.ts';
import { KubeClient, waitForObjects } from '../src/kube/index.ts';
import { startApiServer, type ApiServer } from './support/api-server.ts';

const chart = path.join(import.meta.dirname, '../charts/isthmus-peering');
const fixtures = path.join(import.meta.dirname, 'fixtures/chart');
/** Renderings that helm made, by their name; each has its values beside it. */
const renderings = (await readdir(fixtures)).flatMap((file) => (file.endsWith('.values.yaml') ? [file.replace('.values.yaml', '')] : []));
const valuesOf = (name: string): string => path.join(fixtures, `${name}.values.yaml`);
const helm = process.env['HELM_BIN'];
const withHelm = helm === undefined || helm === '' ? { skip: 'HELM_BIN is not set' } : {};

async function runHelm(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(helm ?? '', args);
  return stdout;
}

/** The objects of a rendering, in an order that does not depend on templates. */
function objectsOf(text: string): KubeObject[] {
  return sorted(parseAllDocuments(text).flatMap((document) => (document.toJS() as KubeObject | null) ?? []));
}

function sorted(objects: readonly KubeObject[]): KubeObject[] {
  const keyOf = ({ kind, metadata }: KubeObject): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
  return objects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

async function readGolden(name: string): Promise<KubeObject[]> {
  return objectsOf(await readFile(path.join(fixtures, `${name}.yaml`), 'utf8'));
}

interface ValuesSchema {
  readonly properties?: Readonly<Record<string, ValuesSchema>>;
  readonly items?: ValuesSchema;
  readonly description?: string;
}

describe('the values of the chart', async () => {
  const schema = JSON.parse(await readFile(path.join(chart, 'values.schema.json'), 'utf8')) as ValuesSchema;
  const defaults = parse(await readFile(path.join(chart, 'values.yaml'), 'utf8')) as Record<string, unknown>;
  const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(schema);
  const faults = (values: unknown): string[] =>
    validate(values) ? [] : (validate.errors ?? []).map(({ instancePath, keyword }) => `${instancePath} ${keyword}`);

  test('the defaults and the test values fit the schema', async () => {
    assert.deepEqual(faults(defaults), []);
    for (const name of renderings) {
      const values = parse(await readFile(valuesOf(name), 'utf8')) as unknown;
      assert.deepEqual(faults(merged(defaults, values)), [], name);
    }
  });

  const wrong: Readonly<Record<string, { readonly values: object; readonly fault: string }>> = {
    'a value that does not exist': { values: { clusterID: 'a' }, fault: ' additionalProperties' },
    'a cluster id that is no DNS label': { values: { clusterId: 'Cluster.1' }, fault: '/clusterId pattern' },
    'an unknown log level': { values: { logLevel: 'loud' }, fault: '/logLevel enum' },
    'an unknown pull policy': { values: { image: { repository: 'r', pullPolicy: 'Sometimes' } }, fault: '/image/pullPolicy enum' },
    'a digest that is none': { values: { image: { repository: 'r', digest: 'sha256:0' } }, fault: '/image/digest pattern' },
    'a part of replicas': { values: { replicas: 1.5 }, fault: '/replicas type' },
    'a pod range that is an address': { values: { podCidrs: ['10.10.0.1'] }, fault: '/podCidrs/0 pattern' },
    'a CA address without a port': { values: { caAddress: 'istiod' }, fault: '/caAddress pattern' },
    'an unknown type of Service': {
      values: { eastwest: { service: { spec: { type: 'Ingress' } } } },
      fault: '/eastwest/service/spec/type enum',
    },
    'a remote without an address': { values: { remote: { items: [{ cluster: 'b' }] } }, fault: '/remote/items/0 required' },
    'a remote with an address and a port': {
      values: { remote: { items: [{ cluster: 'b', address: '10.0.0.1:15012' }] } },
      fault: '/remote/items/0/address pattern',
    },
    'a remote with a pin that is none': {
      values: { remote: { items: [{ cluster: 'b', address: '10.0.0.1', caSha256: 'AB:CD' }] } },
      fault: '/remote/items/0/caSha256 pattern',
    },
    'a remote with a port beyond all': {
      values: { remote: { items: [{ cluster: 'b', address: '10.0.0.1', xdsPort: 70000 }] } },
      fault: '/remote/items/0/xdsPort maximum',
    },
    'a remote behind a node port that is not named': {
      values: { remote: { items: [{ cluster: 'b', address: '10.0.0.1', preferredDataplaneServiceType: 'nodeport' }] } },
      fault: '/remote/items/0 required',
    },
    'a spelling of nodeport that others ignore': {
      values: { remote: { items: [{ cluster: 'b', address: '10.0.0.1', preferredDataplaneServiceType: 'NodePort' }] } },
      fault: '/remote/items/0/preferredDataplaneServiceType enum',
    },
  };
  for (const [what, { values, fault }] of Object.entries(wrong)) {
    test(`refused: ${what}`, () => {
      assert.ok(faults({ ...defaults, ...values }).includes(fault), faults({ ...defaults, ...values }).join(', '));
    });
  }

  test('every value is described, has a default, and stands in the README', async () => {
    const readme = await readFile(path.join(chart, 'README.md'), 'utf8');
    const walk = (at: ValuesSchema, values: unknown, name: string): void => {
      for (const [key, property] of Object.entries(at.properties ?? {})) {
        const full = name === '' ? key : `${name}.${key}`;
        assert.ok((property.description ?? '').endsWith('.'), `${full} is not described`);
        if (full === 'global') continue;
        const isNested = property.properties !== undefined && full !== 'resources';
        const value = (values as Record<string, unknown> | undefined)?.[key];
        if (!full.includes('[]') && !full.startsWith('resources.'))
          assert.notEqual(value, undefined, `${full} has no default in values.yaml`);
        if (isNested) walk(property, value, full);
        else if (!full.includes('pullSecrets[]') && !full.includes('env[]'))
          assert.ok(readme.includes(`\`${full}\``), `${full} is not in README.md`);
        if (full === 'remote.items') walk(property.items ?? {}, undefined, `${full}[]`);
      }
    };
    walk(schema, defaults, '');
  });
});

/** As helm does: maps key by key, anything else as a whole; a null takes a default away. */
function merged(defaults: unknown, values: unknown): unknown {
  if (!isMap(defaults) || !isMap(values)) return values;
  const keys = [...new Set([...Object.keys(defaults), ...Object.keys(values)])].filter((key) => values[key] !== null);
  return Object.fromEntries(keys.map((key) => [key, key in values ? merged(defaults[key], values[key]) : defaults[key]]));
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

describe('the renderings of the chart', () => {
  let server: ApiServer;
  let client: KubeClient;

  before(async () => {
    server = await startApiServer({ name: 'chart' });
    client = KubeClient.fromKubeconfig({ path: server.kubeconfig });
    for (const crd of gatewayApiCrds()) await client.apply(resources.customResourceDefinitions, crd as never, { fieldManager: 'test' });
    await waitForObjects({ client, type: resources.customResourceDefinitions, what: 'the CRDs to be served', timeout: 10_000 }, (crds) =>
      crds.every(({ status }) => status?.conditions?.some(({ type, status: is }) => type === 'Established' && is === 'True')),
    );
    for (const name of ['istio-system', 'istio', 'istio-eastwest', 'edge']) {
      await client.apply(resources.namespaces, { metadata: { name } }, { fieldManager: 'test' });
    }
  });

  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  for (const name of renderings) {
    test(`${name}: an API server takes every object as it is`, async () => {
      for (const object of await readGolden(name)) {
        // The Prometheus operator's kind: its CRD is not ours to carry.
        if (object.kind === 'PodMonitor') continue;
        const type = resourceTypeOf(object);
        const query = 'fieldManager=chart&fieldValidation=Strict';
        const { group, version: at, plural, namespaced } = type;
        const place = namespaced ? `/namespaces/${object.metadata.namespace ?? ''}` : '';
        const url = `${group === '' ? '/api' : `/apis/${group}`}/${at}${place}/${plural}/${object.metadata.name}?${query}&force=true`;
        const stored = await client.request({ method: 'PATCH', path: url, body: object, contentType: 'application/apply-patch+yaml' });
        assert.ok(contains(stored, { ...object, metadata: undefined }), `${object.kind} ${object.metadata.name} is stored otherwise`);
      }
    });

    test(`${name}: as helm renders it`, withHelm, async () => {
      const rendered = await runHelm('template', 'isthmus-peering', chart, '--values', valuesOf(name));
      assert.deepEqual(objectsOf(rendered), await readGolden(name));
    });

    test(`${name}: helm finds no fault`, withHelm, async () => {
      assert.match(await runHelm('lint', '--strict', chart, '--values', valuesOf(name)), /0 chart\(s\) failed/);
    });
  }

  test('helm refuses values that do not fit, and a missing cluster id', withHelm, async () => {
    await assert.rejects(runHelm('template', 'p', chart, '--set', 'clusterId=a,logLevel=loud'), /logLevel/);
    await assert.rejects(runHelm('template', 'p', chart), /clusterId is required/);
  });

  const same: Readonly<Record<string, PeeringManifestOptions>> = {
    default: { namespace: 'istio-system', clusterId: 'cluster-1', trustDomain: 'cluster.local', image: defaultImage },
    narrow: {
      namespace: 'istio',
      clusterId: 'cluster-1',
      network: 'flat-network',
      trustDomain: 'example.org',
      image: 'docker.io/isthmus/isthmus@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945',
      caAddress: 'istiod-1-28-0.istio.svc:15012',
      podCidrs: ['10.10.0.0/16', 'fd00:10::/48'],
      serviceCidrs: ['10.255.10.0/24'],
      clusterDomain: 'cluster.example',
      rootConfigMap: 'mesh-roots',
      createNamespaces: true,
      gatewayNamespaces: ['istio-eastwest', 'edge'],
      replicas: 1,
      priorityClassName: 'system-cluster-critical',
    },
  };
  for (const [name, options] of Object.entries(same)) {
    test(`${name}: the same objects as isthmus install makes`, async () => {
      const made = peeringManifests(options).map((object) => withManager(object, 'Helm'));
      assert.deepEqual(JSON.parse(JSON.stringify(sorted(made))), await readGolden(name));
    });
  }

  test('a link of the chart is what isthmus multicluster link writes', async () => {
    const [wanted] = (await readGolden('gateways')).filter(({ metadata }) => metadata.name === 'istio-remote-peer-cluster-2');
    const printed: string[] = [];
    const peer = {
      clusterId: 'cluster-2',
      network: 'flat-network',
      trustDomain: 'cluster.local',
      address: '172.18.202.1',
      caSha256: wanted?.metadata.annotations?.['isthmus.dev/peer-ca-sha256'],
    };
    await writeLink({ client, namespace: 'istio-eastwest', peer, generate: true, print: (line) => printed.push(line) });
    const [made] = objectsOf(printed.join('\n'));
    assert.ok(made !== undefined);
    assert.deepEqual(withManager(made, 'Helm'), wanted);
  });

  test('chart and program have one version', async () => {
    const about = parse(await readFile(path.join(chart, 'Chart.yaml'), 'utf8')) as {
      readonly version: string;
      readonly appVersion: string;
    };
    assert.deepEqual([about.version, about.appVersion], [version, version]);
  });
});

/** Who manages an object is all in which the two ways differ: each removes its own. */
function withManager(object: KubeObject, manager: string): KubeObject {
  const labels = { ...object.metadata.labels, 'app.kubernetes.io/managed-by': manager };
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** Everything of `part` is in `whole`; lists are compared entry by entry. Quantities may be written otherwise. */
function contains(whole: unknown, part: unknown): boolean {
  if (part === undefined) return true;
  if (Array.isArray(part)) return Array.isArray(whole) && whole.length === part.length && part.every((item, i) => contains(whole[i], item));
  if (typeof part === 'object' && part !== null) {
    if (typeof whole !== 'object' || whole === null) return false;
    return Object.entries(part).every(([key, value]) => contains((whole as Record<string, unknown>)[key], value));
  }
  return whole === part || (typeof part === 'number' && whole === String(part));
}

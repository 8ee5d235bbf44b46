import type { Service } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { keyOf } from './objects.ts';

/**
 * Gives services of type LoadBalancer an address of the pool, and takes it back when they go or change their type. The
 * addresses in use are those that the services' statuses name: nothing else has to survive a restart.
 */
export function loadBalancerController(context: ControllerContext, cidr: string): Controller {
  const { client, caches } = context;
  const services = caches.for(resources.services);
  const pool = poolAddresses(cidr);
  const record = eventRecorder(context, 'service-controller');

  const controller = keyedController(
    context,
    'loadbalancer',
    async (key) => {
      const service = services.get(key);
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) return;
      const has = ingressAddress(service);
      if (!wantsAddress(service)) {
        if (has !== undefined) await write(service, undefined);
        return;
      }
      if (has !== undefined) return;
      record(service, 'Normal', 'EnsuringLoadBalancer', 'Ensuring load balancer');
      const address = chooseAddress(service, [...services.list()], pool);
      if (address === undefined) {
        record(service, 'Warning', 'SyncLoadBalancerFailed', `Error syncing load balancer: no free address in ${cidr}`);
        return;
      }
      await write(service, address);
      record(service, 'Normal', 'EnsuredLoadBalancer', 'Ensured load balancer');
    },
    // One at a time: each choice counts those before it.
    { workers: 1 },
  );

  async function write(service: Service, address: string | undefined): Promise<void> {
    const loadBalancer = address === undefined ? {} : { ingress: [{ ip: address, ipMode: 'VIP' }] };
    const status = { ...service.status, loadBalancer };
    await services.caughtUp(await client.update(resources.services, { ...service, status }, { subresource: 'status' }));
  }

  services.onChange(({ type, key, old }) => {
    controller.queue.add(key);
    // An address came free: somebody may wait for one.
    if (old !== undefined && ingressAddress(old) !== undefined && (type === 'delete' || !wantsAddress(services.get(key) ?? old))) {
      for (const service of services.list())
        if (wantsAddress(service) && ingressAddress(service) === undefined) controller.queue.add(keyOf(service));
    }
  });
  return controller;
}

function wantsAddress(service: Service): boolean {
  return service.spec?.type === 'LoadBalancer' && !service.spec.loadBalancerClass;
}

function ingressAddress(service: Service): string | undefined {
  return service.status?.loadBalancer?.ingress?.[0]?.ip;
}

/** The address that the service asks for, if it is free and of the pool, otherwise the first free one. */
export function chooseAddress(service: Service, all: readonly Service[], pool: readonly string[]): string | undefined {
  const used = new Set(all.filter((other) => other.metadata.uid !== service.metadata.uid).map(ingressAddress));
  const wished = service.spec?.loadBalancerIP;
  if (wished) return pool.includes(wished) && !used.has(wished) ? wished : undefined;
  return pool.find((address) => !used.has(address));
}

/** The host addresses of an IPv4 range between /16 and /30, without the first and the last. */
export function poolAddresses(cidr: string): readonly string[] {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(cidr);
  const [a, b, c, d, bits] = (match ?? []).slice(1).map(Number);
  if (a === undefined || b === undefined || c === undefined || d === undefined || bits === undefined || bits < 16 || bits > 30) {
    throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `"${cidr}" is not a range of load balancer addresses`, {
      hint: 'give one like 172.18.201.0/24',
    });
  }
  const size = 2 ** (32 - bits);
  const base = Math.floor((a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / size) * size;
  return Array.from({ length: size - 2 }, (_, i) => [24, 16, 8, 0].map((shift) => Math.floor((base + 1 + i) / 2 ** shift) % 256).join('.'));
}

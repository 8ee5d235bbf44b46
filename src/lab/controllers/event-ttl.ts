import { resources } from '../../api/resources.ts';
import { periodicController, type Controller, type ControllerContext } from './controller.ts';
import { timeOf } from './objects.ts';

/** Events live for so long after they were last counted up, milliseconds (kube-apiserver's --event-ttl). */
const timeToLive = 3_600_000;

/** How often old ones are looked for, milliseconds. */
const period = 300_000;

/** Removes Events that nobody will ask for any more. */
export function eventExpiry(context: ControllerContext): Controller {
  const { client, clock } = context;

  async function look(signal: AbortSignal): Promise<void> {
    const { items } = await client.list(resources.events, { signal });
    for (const event of items) {
      const last = timeOf(event.lastTimestamp ?? event.metadata.creationTimestamp);
      if (clock.now() - last > timeToLive) await client.delete(resources.events, event.metadata, { signal });
    }
  }

  return periodicController(context, 'event-expiry', period, look);
}

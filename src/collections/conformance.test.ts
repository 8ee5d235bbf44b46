import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import fc from 'fast-check';

import { flatMap, Graph, indexBy, join, map, source, type Collection, type CollectionChange, type Source } from './index.ts';

/** What a test's sources hold: a value and words that refer to other keys. */
interface Item {
  readonly value: number;
  readonly words: readonly string[];
}

/** The sources of a test and the collection under test made from them. `runs` counts calls of derivations. */
interface Subject {
  readonly graph: Graph;
  readonly sources: readonly [Source<Item>, Source<Item>];
  readonly output: Collection<object>;
  readonly runs: { count: number };
}

type Make = (graph: Graph, a: Source<Item>, b: Source<Item>, count: () => void) => Collection<object>;

/** Every kind of collection, and the ways to read others. Each must pass every case below. */
const kinds: Readonly<Record<string, Make>> = {
  source: (_graph, a) => a,
  map: (graph, a, _b, count) =>
    map(
      graph,
      a,
      (item) => {
        count();
        return item.value % 3 === 0 ? undefined : { twice: item.value * 2 };
      },
      { name: 'output' },
    ),
  'map that gets': (graph, a, b, count) =>
    map(
      graph,
      a,
      (item, fetch, key) => {
        count();
        return { key, item, others: item.words.map((word) => fetch.get(b, word)?.value) };
      },
      { name: 'output' },
    ),
  'map that looks up': (graph, a, b, count) => {
    const byWord = indexBy(graph, b, { name: 'byWord', keysOf: (item) => item.words });
    return map(
      graph,
      a,
      (item, fetch, key) => {
        count();
        return { item, users: fetch.lookup(byWord, key).map(({ value }) => value) };
      },
      { name: 'output' },
    );
  },
  'map that lists': (graph, a, b, count) =>
    map(
      graph,
      a,
      (item, fetch) => {
        count();
        return { item, all: item.value > 2 ? fetch.list(b) : [] };
      },
      { name: 'output' },
    ),
  flatMap: (graph, a, _b, count) =>
    flatMap(
      graph,
      a,
      (item, _fetch, key) => {
        count();
        // Several inputs derive the same keys: the least input counts.
        return item.words.map((word) => [word, { from: key, value: item.value }] as const);
      },
      { name: 'output' },
    ),
  'flatMap over lookups': (graph, a, b, count) => {
    const byWord = indexBy(graph, a, { name: 'byWord', keysOf: (item) => item.words });
    return flatMap(
      graph,
      b,
      (item, fetch, key) => {
        count();
        return fetch.lookup(byWord, key).map((other, at) => [`${String(at)}/${String(item.value % 2)}`, { other, key }] as const);
      },
      { name: 'output' },
    );
  },
  join: (graph, a, b) => join<object>(graph, [a, b], { name: 'output' }),
  'join, derived and joined again': (graph, a, b, count) => {
    const both = join(graph, [a, b], { name: 'both' });
    const byParity = indexBy(graph, both, { name: 'byParity', keysOf: ({ value }) => [String(value % 2)] });
    const summed = map(
      graph,
      both,
      (item, fetch) => {
        count();
        return { sum: fetch.lookup(byParity, String(item.value % 2)).reduce((sum, { value }) => sum + value, 0) };
      },
      { name: 'summed' },
    );
    const failing = map(
      graph,
      b,
      (item, fetch, key) => {
        count();
        if (fetch.get(summed, key)?.sum === 4) throw new Error('refused');
        return { item, summed: fetch.get(summed, key) };
      },
      { name: 'failing' },
    );
    return join<object>(graph, [failing, summed], { name: 'output' });
  },
};

function subject(make: Make): Subject {
  const graph = new Graph({ onFailure: () => undefined });
  const a = source<Item>(graph, { name: 'a', equals: isDeepStrictEqual });
  const b = source<Item>(graph, { name: 'b', equals: isDeepStrictEqual });
  const runs = { count: 0 };
  const output = make(graph, a, b, () => runs.count++);
  return { graph, sources: [a, b], output, runs };
}

type Step =
  | { readonly do: 'set'; readonly on: 0 | 1; readonly key: string; readonly item: Item }
  | { readonly do: 'delete'; readonly on: 0 | 1; readonly key: string }
  | { readonly do: 'replace'; readonly on: 0 | 1; readonly content: readonly (readonly [string, Item])[] };

const key = fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5');
const item: fc.Arbitrary<Item> = fc.record({ value: fc.nat({ max: 5 }), words: fc.uniqueArray(key, { maxLength: 3 }) });
const on = fc.constantFrom(0 as const, 1 as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('set' as const), on, key, item }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), on, key }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('replace' as const), on, content: fc.array(fc.tuple(key, item), { maxLength: 4 }) }),
  },
);
const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 12 });

function perform(sources: Subject['sources'], step: Step): void {
  const target = sources[step.on];
  if (step.do === 'set') target.set(step.key, step.item);
  else if (step.do === 'delete') target.delete(step.key);
  else target.replace(new Map(step.content));
}

function contents<T extends object>(collection: Collection<T>): Map<string, T> {
  return new Map([...collection.entries()].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The same sources' content, put into a graph that never saw anything else. */
function fromScratch(make: Make, { sources }: Subject): Map<string, object> {
  const fresh = subject(make);
  fresh.graph.batch(() => {
    sources.forEach((old, at) => {
      // The other order of entry, too: what a collection holds must not depend on it.
      for (const [key, value] of [...old.entries()].reverse()) fresh.sources[at === 0 ? 0 : 1].set(key, value);
    });
  });
  return contents(fresh.output);
}

for (const [kind, make] of Object.entries(kinds)) {
  describe(`a collection made by ${kind}`, () => {
    it('holds after any changes what it would hold if made from their end', () => {
      fc.assert(
        fc.property(batches, (all) => {
          const it = subject(make);
          for (const batch of all) {
            it.graph.batch(() => batch.forEach((step) => perform(it.sources, step)));
            assert.deepEqual(contents(it.output), fromScratch(make, it));
          }
        }),
        { numRuns: 150 },
      );
    });

    it('tells handlers every net change once, and never a change that is none', () => {
      fc.assert(
        fc.property(batches, fc.nat({ max: 12 }), (all, late) => {
          const it = subject(make);
          const early = new Map<string, object>();
          const later = new Map<string, object>();
          const follow =
            (copy: Map<string, object>) =>
            (changes: readonly CollectionChange<object>[]): void => {
              assert.equal(new Set(changes.map(({ key }) => key)).size, changes.length, 'one change a key');
              for (const { key, before, after } of changes) {
                assert.equal(copy.get(key), before, 'before is what the handler last heard');
                assert.notDeepEqual(before, after);
                if (after === undefined) copy.delete(key);
                else copy.set(key, after);
              }
            };
          it.output.subscribe(follow(early));
          all.forEach((batch, at) => {
            if (at === late) it.output.subscribe(follow(later));
            it.graph.batch(() => batch.forEach((step) => perform(it.sources, step)));
            assert.deepEqual(contents(it.output), new Map([...early].sort(([a], [b]) => (a < b ? -1 : 1))));
            if (at >= late) assert.deepEqual(later, early);
          });
        }),
        { numRuns: 150 },
      );
    });

    it('is the same with and without handlers, in one batch or in many', () => {
      fc.assert(
        fc.property(batches, (all) => {
          const [one, many] = [subject(make), subject(make)];
          many.output.subscribe(() => undefined);
          one.graph.batch(() => all.flat().forEach((step) => perform(one.sources, step)));
          for (const step of all.flat()) perform(many.sources, step);
          assert.deepEqual(contents(one.output), contents(many.output));
        }),
        { numRuns: 100 },
      );
    });

    it('starts with what its inputs hold already', () => {
      const graph = new Graph({ onFailure: () => undefined });
      const a = source<Item>(graph, { name: 'a', equals: isDeepStrictEqual });
      const b = source<Item>(graph, { name: 'b', equals: isDeepStrictEqual });
      a.set('k1', { value: 1, words: ['k2'] });
      b.set('k2', { value: 4, words: ['k1'] });
      const output = make(graph, a, b, () => undefined);
      const early = subject(make);
      early.sources[0].set('k1', { value: 1, words: ['k2'] });
      early.sources[1].set('k2', { value: 4, words: ['k1'] });
      assert.deepEqual(contents(output), contents(early.output));
    });
  });
}

describe('the cost of one change', () => {
  const costs = (kind: string, size: number): number => {
    const make = kinds[kind];
    assert.ok(make);
    const { graph, sources, runs } = subject(make);
    graph.batch(() => {
      for (let n = 0; n < size; n++) {
        sources[0].set(`a${String(n)}`, { value: 1, words: [`b${String(n)}`] });
        sources[1].set(`b${String(n)}`, { value: 1, words: [`a${String(n)}`] });
      }
    });
    runs.count = 0;
    sources[1].set('b3', { value: 2, words: ['a3'] });
    sources[0].set('a3', { value: 2, words: ['b3'] });
    return runs.count;
  };
  for (const kind of ['map', 'map that gets', 'map that looks up', 'flatMap', 'flatMap over lookups']) {
    it(`of ${kind} does not grow with the collection`, () => {
      const small = costs(kind, 10);
      assert.ok(small > 0);
      assert.equal(costs(kind, 5_000), small);
    });
  }
});

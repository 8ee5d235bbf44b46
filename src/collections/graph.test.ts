import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Graph, indexBy, map, source, type DerivationFailure, type Fetch } from './index.ts';

function graph(): { graph: Graph; failures: DerivationFailure[] } {
  const failures: DerivationFailure[] = [];
  return { graph: new Graph({ onFailure: (failure) => failures.push(failure) }), failures };
}

describe('a graph', () => {
  it('shows handlers the whole graph after the same batch, and derives once a batch', () => {
    const { graph: g } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    const factor = source<number>(g, { name: 'factor' });
    let runs = 0;
    const left = map(g, numbers, (n, fetch) => n * (fetch.get(factor, '') ?? 0), { name: 'left' });
    const right = map(g, numbers, (n) => n * 10, { name: 'right' });
    const sums = map(
      g,
      left,
      (value, fetch, key) => {
        runs++;
        return value + (fetch.get(right, key) ?? 0);
      },
      { name: 'sums' },
    );
    const heard: number[] = [];
    numbers.subscribe(() => heard.push(sums.get('n') ?? -1));
    g.batch(() => {
      factor.set('', 2);
      numbers.set('n', 1);
      numbers.set('n', 3);
      assert.equal(numbers.get('n'), undefined, 'nothing is seen before the batch ends');
    });
    assert.deepEqual(heard, [36]);
    assert.equal(runs, 1, 'a diamond is derived once');
  });

  it('gathers what changes while it is held', () => {
    const { graph: g } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    const batches: number[] = [];
    numbers.subscribe((changes) => batches.push(changes.length));
    const release = g.hold();
    numbers.set('a', 1);
    numbers.set('b', 2);
    numbers.delete('a');
    assert.equal(numbers.size, 0);
    release();
    release();
    numbers.set('c', 3);
    assert.deepEqual(batches, [1, 1]);
  });

  it('makes what a handler changes another batch, heard by all after the first', () => {
    const { graph: g } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    const heard: string[] = [];
    numbers.subscribe((changes) => {
      for (const { key } of changes) {
        heard.push(`first ${key}`);
        if (key === 'a') numbers.set('b', 1);
      }
    });
    numbers.subscribe((changes) => heard.push(...changes.map(({ key }) => `second ${key}`)));
    numbers.set('a', 1);
    assert.deepEqual(heard, ['first a', 'second a', 'first b', 'second b']);
  });

  it('reaches every handler although one throws, and reports what it threw', () => {
    const { graph: g } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    const heard: string[] = [];
    numbers.subscribe(() => {
      throw new Error('handler');
    });
    numbers.subscribe((changes) => heard.push(...changes.map(({ key }) => key)));
    assert.throws(() => numbers.set('a', 1), /handler/);
    assert.throws(() => numbers.set('b', 1), /handler/);
    assert.deepEqual(heard, ['a', 'b']);
  });

  it('does not call a handler that another one stopped in the same batch', () => {
    const { graph: g } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    let stop = (): void => undefined;
    numbers.subscribe(() => stop());
    stop = numbers.subscribe(() => assert.fail('stopped'));
    numbers.set('a', 1);
  });

  it('reports a derivation that throws, counts it as nothing, and runs it again when what it read changes', () => {
    const { graph: g, failures } = graph();
    const names = source<string>(g, { name: 'names' });
    const ages = source<number>(g, { name: 'ages' });
    const people = map(
      g,
      names,
      (name, fetch) => {
        const age = fetch.get(ages, name);
        if (age === undefined) throw new Error(`no age for ${name}`);
        return `${name} ${age}`;
      },
      { name: 'people' },
    );
    names.set('1', 'ann');
    assert.equal(people.size, 0);
    assert.deepEqual(
      failures.map(({ collection, key }) => `${collection} ${key}`),
      ['people 1'],
    );
    ages.set('ann', 7);
    assert.equal(people.get('1'), 'ann 7');
  });

  it('refuses what would break its order', () => {
    const { graph: g, failures } = graph();
    const numbers = source<number>(g, { name: 'numbers' });
    let escaped: Fetch | undefined;
    const impure = map(
      g,
      numbers,
      (n, fetch) => {
        escaped = fetch;
        numbers.set('x', 1);
        return n;
      },
      { name: 'impure' },
    );
    const later = { of: numbers };
    map(g, numbers, (_n, fetch) => fetch.get(later.of, 'x'), { name: 'cyclic' });
    later.of = source<number>(g, { name: 'later' });
    numbers.set('a', 1);
    assert.match(String(failures[0]?.error), /a derivation may not change the graph/);
    assert.match(String(failures[1]?.error), /later was made later/);
    assert.throws(() => escaped?.get(numbers, 'a'), /after the derivation ended/);
    assert.equal(impure.size, 0);
    const elsewhere = source<number>(graph().graph, { name: 'elsewhere' });
    assert.throws(() => indexBy(g, elsewhere, { name: 'index', keysOf: () => [] }), /not a collection of this graph/);
  });

  it('keeps an index right when its key function throws', () => {
    const { graph: g, failures } = graph();
    const words = source<string>(g, { name: 'words' });
    const byLetter = indexBy(g, words, {
      name: 'byLetter',
      keysOf: (word) => {
        if (word === '') throw new Error('empty');
        return Array.from(word);
      },
    });
    words.set('1', '');
    words.set('2', 'ab');
    words.set('1', 'ba');
    words.set('2', '');
    assert.deepEqual(byLetter.lookup('a'), ['ba']);
    assert.equal(failures.length, 3);
  });

  it('prints itself', () => {
    const { graph: g } = graph();
    const words = source<string>(g, { name: 'words' });
    indexBy(g, words, { name: 'byLetter', keysOf: (word) => Array.from(word) });
    words.set('1', 'abc');
    assert.deepEqual(g.table(), [
      { name: 'words', size: 1 },
      { name: 'byLetter', size: 3 },
    ]);
  });
});

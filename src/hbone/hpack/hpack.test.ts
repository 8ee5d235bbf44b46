import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Http2Error } from '../errors.ts';
import { HpackDecoder } from './decoder.ts';
import type { HeaderField } from './dynamic-table.ts';
import { HpackEncoder } from './encoder.ts';
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('HPACK', () => {
  // RFC 7541, Appendix C.3 to C.6: the same three requests without and with Huffman, and three responses in a table of 256
  // bytes, so that entries are evicted.
  const requests: HeaderField[][] = [
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
      ['cache-control', 'no-cache'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ],
  ];
  const blocks = {
    plain: [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    Huffman: [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  };
  for (const [kind, encoded] of Object.entries(blocks)) {
    test(`decodes the requests of RFC 7541 (${kind})`, () => {
      const decoder = new HpackDecoder({ maxListSize: 4096 });
      assert.deepEqual(
        encoded.map((block) => decoder.decode(hex(block))),
        requests,
      );
    });
  }

  test('encodes the requests of RFC 7541 as they stand there', () => {
    const encoder = new HpackEncoder(new Set([':authority', 'cache-control', 'custom-key']));
    assert.deepEqual(
      requests.map((fields) => encoder.encode(fields).toString('hex')),
      blocks.Huffman.map((block) => hex(block).toString('hex')),
    );
  });

  test('evicts as RFC 7541 does in a table of 256 bytes', () => {
    const decoder = new HpackDecoder({ maxTableSize: 256, maxListSize: 4096 });
    const responses = [
      '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      '4883 640e ffc1 c0bf',
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
    ].map((block) => decoder.decode(hex(block)));
    assert.deepEqual(responses[1], [
      [':status', '307'],
      ['cache-control', 'private'],
      ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
      ['location', 'https://www.example.com'],
    ]);
    assert.deepEqual(responses[2]?.at(-1), ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1']);
  });

  test('every string survives Huffman', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const encoded = huffmanEncode(bytes);
        assert.equal(encoded.length, huffmanLength(bytes));
        assert.deepEqual([...huffmanDecode(encoded)], [...bytes]);
      }),
    );
  });

  const character = fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code));
  const field = fc.tuple(
    fc.oneof(
      fc.constantFrom(':authority', 'baggage', 'forwarded', 'x-a', 'x-b'),
      fc.string({ unit: character, minLength: 1, maxLength: 20 }),
    ),
    fc.oneof(fc.constantFrom('', '1', 'abc'), fc.string({ unit: character, maxLength: 1200 })),
  );

  test('a decoder reads what an encoder wrote, block after block, across table sizes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            fields: fc.array(field, { maxLength: 8 }),
            tableSizes: fc.array(fc.integer({ min: 0, max: 4096 }), { maxLength: 2 }),
          }),
        ),
        (lists) => {
          const encoder = new HpackEncoder(new Set([':authority', 'baggage', 'x-a']));
          const decoder = new HpackDecoder({ maxListSize: 1 << 20 });
          for (const { fields, tableSizes } of lists) {
            for (const size of tableSizes) encoder.setPeerTableSize(size);
            assert.deepEqual(decoder.decode(encoder.encode(fields)), fields);
          }
        },
      ),
    );
  });

  test('whatever bytes arrive, decoding ends with fields or with an Http2Error', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (received) => {
        const decoder = new HpackDecoder({ maxListSize: 2048 });
        try {
          for (const block of received) decoder.decode(block);
        } catch (error) {
          assert.ok(error instanceof Http2Error, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  const malformed: Record<string, string> = {
    'index 0': '80',
    'index past the tables': 'be',
    'a string longer than its block': '0005 6162',
    'an integer without end': 'ffff ffff ffff 7f',
    'a table size above the limit': '3fe2 1f',
    'a table size after a field': '82 20',
    'Huffman padding of zeros': '0081 00 01 61',
    'Huffman end of string': '0084 ffff ffff 01 61',
  };
  for (const [what, block] of Object.entries(malformed)) {
    test(`refuses ${what}`, () => {
      assert.throws(() => new HpackDecoder({ maxListSize: 4096 }).decode(hex(block)), { code: 'HBONE_PROTOCOL' });
    });
  }

  test('refuses a small block that decodes to a large list', () => {
    // One entry of 4 kB, referred to again and again with one byte each.
    const block = Buffer.concat([hex('4001 61 7f81 1e'), Buffer.alloc(4000, 'x'), Buffer.alloc(1000, 0xbe)]);
    assert.throws(() => new HpackDecoder({ maxListSize: 65_536 }).decode(block), /ENHANCE_YOUR_CALM/);
  });
});

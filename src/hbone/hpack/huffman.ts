import { Http2Error, ErrorCode } from '../errors.ts';

/**
 * The Huffman code of HPACK (RFC 7541, Appendix B). The code is canonical: codes of one length are consecutive, in the
 * order of their symbols, so the lengths below (symbols 0 to 255, then end of string) say everything.
 */
// prettier-ignore
const codeLengths = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
);
const endOfString = 256;
const longest = 30;

const codes = new Uint32Array(codeLengths.length);
/** Symbols in the order of their codes. */
const bySize: number[] = [];
/** For each length: the code after its last one, and where in `bySize` its symbols would start if codes counted from 0. */
const limit = new Float64Array(longest + 1);
const offset = new Float64Array(longest + 1);

{
  let code = 0;
  for (let length = 1; length <= longest; length++) {
    code *= 2;
    offset[length] = bySize.length - code;
    for (let symbol = 0; symbol < codeLengths.length; symbol++) {
      if (codeLengths[symbol] !== length) continue;
      codes[symbol] = code++;
      bySize.push(symbol);
    }
    limit[length] = code;
  }
}

/** Bytes that {@link huffmanEncode} gives for `bytes`. */
export function huffmanLength(bytes: Uint8Array): number {
  let bits = 0;
  for (const byte of bytes) bits += codeLengths[byte] ?? 0;
  return Math.ceil(bits / 8);
}

/** Encodes, padded with the first bits of the end-of-string code (all ones). */
export function huffmanEncode(bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(huffmanLength(bytes));
  let at = 0;
  let pending = 0;
  let bits = 0;
  for (const byte of bytes) {
    const code = codes[byte] ?? 0;
    // Codes have up to 30 bits and up to 7 are pending: byte by byte from the top keeps within 32.
    for (let left = codeLengths[byte] ?? 0; left > 0;) {
      const take = Math.min(left, 8 - bits);
      left -= take;
      pending = (pending << take) | ((code >>> left) & ((1 << take) - 1));
      bits += take;
      if (bits === 8) {
        out[at++] = pending;
        pending = 0;
        bits = 0;
      }
    }
  }
  if (bits > 0) out[at] = (pending << (8 - bits)) | ((1 << (8 - bits)) - 1);
  return out;
}

/**
 * Decodes; throws COMPRESSION_ERROR for an end-of-string code, or padding that is longer than 7 bits or not all ones.
 * The shortest code has 5 bits, so the result is at most 1.6 times as long as the input.
 */
export function huffmanDecode(bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(Math.floor((bytes.length * 8) / 5));
  let size = 0;
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >>> bit) & 1);
      length += 1;
      if (length < 5 || code >= (limit[length] ?? 0)) {
        if (length >= longest) throw new Http2Error(ErrorCode.COMPRESSION_ERROR, 'Huffman code of more than 30 bits');
        continue;
      }
      const symbol = bySize[code + (offset[length] ?? 0)] ?? endOfString;
      if (symbol === endOfString) throw new Http2Error(ErrorCode.COMPRESSION_ERROR, 'end of string inside a Huffman string');
      out[size++] = symbol;
      code = 0;
      length = 0;
    }
  }
  if (length > 7 || code !== 2 ** length - 1) throw new Http2Error(ErrorCode.COMPRESSION_ERROR, 'Huffman string with wrong padding');
  return out.subarray(0, size);
}

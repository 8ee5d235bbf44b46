/** Says why a string is no quantity, in Kubernetes' words. */
export const quantityFormatError = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binary: Readonly<Record<string, number>> = { Ki: 1, Mi: 2, Gi: 3, Ti: 4, Pi: 5, Ei: 6 };

type Format = 'decimal' | 'exponent' | 'binary';

interface Quantity {
  /** In 10^-9: the smallest amount that a quantity holds; finer ones are rounded away from zero. */
  readonly nano: bigint;
  readonly format: Format;
}

function parse(text: string): Quantity | undefined {
  const [, sign = '', whole = '', fraction = '', suffix = ''] = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/.exec(text) ?? [];
  if (whole === '' && fraction === '') return undefined;
  const digits = BigInt(whole + fraction);
  const scaled = (numerator: bigint, exponent: number): bigint => {
    const power = 9 + exponent - fraction.length;
    if (power >= 0) return numerator * 10n ** BigInt(power);
    const divisor = 10n ** BigInt(-power);
    return (numerator + divisor - 1n) / divisor;
  };
  const signed = (nano: bigint): bigint => (sign === '-' ? -nano : nano);
  const si = decimal[suffix];
  if (si !== undefined) return { nano: signed(scaled(digits, si)), format: 'decimal' };
  const power = binary[suffix];
  if (power !== undefined) return { nano: signed(scaled(digits * 1024n ** BigInt(power), 0)), format: 'binary' };
  const exponent = /^[eE]([-+]?\d+)$/.exec(suffix)?.[1];
  if (exponent === undefined || Math.abs(Number(exponent)) > 30) return undefined;
  return { nano: signed(scaled(digits, Number(exponent))), format: 'exponent' };
}

/**
 * The form in which a server writes a quantity: no fraction, and the largest suffix of its own family that needs none
 * (`0.5` is `500m`, `1024Mi` is `1Gi`). Undefined when the text is no quantity.
 */
export function canonicalQuantity(text: string): string | undefined {
  const quantity = parse(text.trim());
  if (quantity === undefined) return undefined;
  const { nano } = quantity;
  if (nano === 0n) return '0';
  const unit = 10n ** 9n;
  const magnitude = nano < 0n ? -nano : nano;
  if (quantity.format === 'binary' && magnitude >= 1024n * unit && nano % unit === 0n) {
    let value = nano / unit;
    let suffix = '';
    for (const name of Object.keys(binary)) {
      if (value % 1024n !== 0n) break;
      value /= 1024n;
      suffix = name;
    }
    return `${value}${suffix}`;
  }
  let value = nano;
  let exponent = -9;
  while (exponent < 18 && value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  if (quantity.format === 'exponent') return exponent === 0 ? String(value) : `${value}e${exponent}`;
  const suffix = Object.entries(decimal).find(([, power]) => power === exponent)?.[0] ?? '';
  return `${value}${suffix}`;
}

/** -1, 0 or 1; quantities that cannot be read count as zero. */
export function compareQuantities(a: string, b: string): number {
  const [left, right] = [parse(a)?.nano ?? 0n, parse(b)?.nano ?? 0n];
  return left < right ? -1 : left > right ? 1 : 0;
}

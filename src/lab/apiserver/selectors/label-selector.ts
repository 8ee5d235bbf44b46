import { badRequest } from '../status.ts';

export type Predicate = (labels: Readonly<Record<string, string>>) => boolean;

/** What a selector's text is made of: an operator, or a word. */
type Token = { readonly kind: 'word' | 'operator'; readonly text: string };

const operators = ['!=', '==', '=', '!', '(', ')', ',', '>', '<'];

/**
 * Parses a label selector (`a=b,c!=d,e in (f,g),!h,i>3`) into a predicate; throws the API's 400 for one that cannot be understood.
 * Everything matches an empty one.
 */
export function parseLabelSelector(text: string): Predicate {
  const tokens = tokenize(text);
  const requirements: Predicate[] = [];
  let at = 0;
  const peek = (): Token | undefined => tokens[at];
  const expected = (what: string): never => {
    throw badRequest(`unable to parse requirement: found '${peek()?.text ?? ''}', expected: ${what}`);
  };
  const word = (what: string): string => {
    const token = peek();
    if (token?.kind !== 'word') return expected(what);
    at++;
    return token.text;
  };
  const values = (): Set<string> => {
    if (peek()?.text !== '(') expected("'('");
    at++;
    const set = new Set<string>();
    for (;;) {
      set.add(peek()?.kind === 'word' ? word('identifier') : '');
      const next = peek()?.text;
      if (next !== ',' && next !== ')') expected("',' or ')'");
      at++;
      if (next === ')') return set;
    }
  };
  /** `a=` selects the empty value; so the value may be missing, but nothing else may stand there. */
  const value = (): string => {
    const token = peek();
    if (token === undefined || token.text === ',') return '';
    return word('identifier');
  };
  while (at < tokens.length) {
    if (peek()?.text === '!') {
      at++;
      const key = word('identifier');
      requirements.push((labels) => labels[key] === undefined);
    } else {
      requirements.push(requirement(word("'!', identifier, or 'end of string'")));
    }
    if (peek() === undefined) break;
    if (peek()?.text !== ',') expected("',' or 'end of string'");
    at++;
    if (peek() === undefined) expected("identifier after ','");
  }
  return (labels) => requirements.every((matches) => matches(labels));

  function requirement(key: string): Predicate {
    const operator = peek();
    if (operator === undefined || operator.text === ',') return (labels) => labels[key] !== undefined;
    at++;
    switch (operator.text) {
      case '=':
      case '==': {
        const wanted = value();
        return (labels) => labels[key] === wanted;
      }
      case '!=': {
        const unwanted = value();
        return (labels) => labels[key] !== unwanted;
      }
      case 'in': {
        const wanted = values();
        return (labels) => labels[key] !== undefined && wanted.has(labels[key]);
      }
      case 'notin': {
        const unwanted = values();
        return (labels) => labels[key] === undefined || !unwanted.has(labels[key]);
      }
      case '>':
      case '<': {
        const bound = Number(value());
        if (!Number.isInteger(bound)) throw badRequest(`for 'Gt', 'Lt' operators, the value must be an integer`);
        return (labels) => labels[key] !== undefined && (operator.text === '>' ? Number(labels[key]) > bound : Number(labels[key]) < bound);
      }
      default:
        at--;
        return expected('in, notin, =, ==, !=, gt, lt');
    }
  }
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length;) {
    const char = text[at] ?? '';
    if (/\s/.test(char)) {
      at++;
      continue;
    }
    const operator = operators.find((candidate) => text.startsWith(candidate, at));
    if (operator !== undefined) {
      tokens.push({ kind: 'operator', text: operator });
      at += operator.length;
      continue;
    }
    const word = /^[^\s=!(),<>]+/.exec(text.slice(at))?.[0] ?? char;
    tokens.push({ kind: word === 'in' || word === 'notin' ? 'operator' : 'word', text: word });
    at += word.length;
  }
  return tokens;
}

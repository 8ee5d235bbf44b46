/** Says what is wrong with a name, in Kubernetes' words; nothing when it is a good one. `prefix`: it is the start of a generated name. */
export type NameCheck = (name: string, prefix?: boolean) => string[];

const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const subdomain = `${label}(\\.${label})*`;
const label1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const qualifiedPart = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const labelValue = `(${qualifiedPart})?`;
const configKey = '[-._a-zA-Z0-9]+';
const portName = '[a-z0-9]([a-z0-9-]*[a-z0-9])*';

const whole = (pattern: string): RegExp => new RegExp(`^(${pattern})$`);

/** Kubernetes' sentence for a name that does not match: what it must be, examples, the expression. */
function mismatch(what: string, pattern: string, ...examples: readonly string[]): string {
  const list = examples.map((example) => `'${example}'`).join(',  or ');
  return `${what} (e.g. ${list}, regex used for validation is '${pattern}')`;
}

const tooLong = (max: number): string => `must be no more than ${max} characters`;

function check(options: { readonly max: number; readonly pattern: string; readonly message: string }): NameCheck {
  const expression = whole(options.pattern);
  return (name, prefix = false) => {
    // What is generated goes on after a dash.
    const judged = prefix && name.endsWith('-') ? `${name.slice(0, -1)}a` : name;
    return [...(judged.length > options.max ? [tooLong(options.max)] : []), ...(expression.test(judged) ? [] : [options.message])];
  };
}

/** A lowercase RFC 1123 label: namespaces, containers, volumes. */
export const labelMessages: NameCheck = check({
  max: 63,
  pattern: label,
  message: mismatch(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    label,
    'my-name',
    '123-abc',
  ),
});

/** A lowercase RFC 1123 subdomain: most objects. */
export const subdomainMessages: NameCheck = check({
  max: 253,
  pattern: subdomain,
  message: mismatch(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    subdomain,
    'example.com',
  ),
});

/** A DNS-1035 label: services. */
export const label1035Messages: NameCheck = check({
  max: 63,
  pattern: label1035,
  message: mismatch(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    label1035,
    'my-name',
    'abc-123',
  ),
});

/** What cannot be a segment of a URL's path: RBAC objects, and every object besides its own rule. */
export const pathSegmentMessages: NameCheck = (name, prefix = false) => {
  if (!prefix && (name === '.' || name === '..')) return [`may not be '${name}'`];
  return ['/', '%'].filter((character) => name.includes(character)).map((character) => `may not contain '${character}'`);
};

/** The key of a label, annotation or finalizer: a name, with or without the prefix `example.com/`. */
export function qualifiedNameMessages(key: string): string[] {
  const nameRule = mismatch(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    qualifiedPart,
    'MyName',
    'my.name',
    '123-abc',
  );
  const parts = key.split('/');
  if (parts.length > 2) {
    return [`a qualified name ${nameRule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  }
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? (parts[0] ?? '') : undefined;
  const messages: string[] = [];
  if (prefix === '') messages.push('prefix part must be non-empty');
  else if (prefix !== undefined) messages.push(...subdomainMessages(prefix).map((message) => `prefix part ${message}`));
  if (name === '') messages.push('name part must be non-empty');
  else if (name.length > 63) messages.push(`name part ${tooLong(63)}`);
  if (!whole(qualifiedPart).test(name)) messages.push(`name part ${nameRule}`);
  return messages;
}

export const labelValueMessages: NameCheck = check({
  max: 63,
  pattern: labelValue,
  message: mismatch(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    labelValue,
    'MyValue',
    'my_value',
    '12345',
  ),
});

/** A key of a ConfigMap or Secret. */
export function configKeyMessages(key: string): string[] {
  const messages = key.length > 253 ? [tooLong(253)] : [];
  if (!whole(configKey).test(key)) {
    messages.push(
      mismatch(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        configKey,
        'key.name',
        'KEY_NAME',
        'key-name',
      ),
    );
  }
  if (key === '.') messages.push("must not be '.'");
  if (key.startsWith('..')) messages.push(key === '..' ? "must not be '..'" : "must not start with '..'");
  return messages;
}

/** An IANA service name: the name of a container's port. */
export function portNameMessages(name: string): string[] {
  const messages: string[] = [];
  if (name.length > 15) messages.push('must be no more than 15 characters');
  if (!whole(portName).test(name)) {
    messages.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  }
  if (!/[a-z]/.test(name)) messages.push('must contain at least one letter (a-z)');
  if (name.includes('--')) messages.push('must not contain consecutive hyphens');
  if (name.startsWith('-') || name.endsWith('-')) messages.push('must not begin or end with a hyphen');
  return messages;
}

export function environmentNameMessages(name: string): string[] {
  // Since 1.34 any printable ASCII but `=` will do.
  return /^[ -<>-~]+$/.test(name)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

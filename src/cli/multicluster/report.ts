import { severityOf, type ClusterReport } from './check.ts';
import { worstOf, type CheckLine } from './findings.ts';

const symbols = { ok: '✅', warning: '⚠️ ', failure: '❌' } as const;

/** One cluster's report as the guide prints it, a line each; findings follow their line with the command that mends them. */
export function reportLines({ lines, isIsthmus }: ClusterReport, verbose: boolean): readonly string[] {
  return lines
    .filter(({ isExtra, findings }) => !isExtra || !isIsthmus || findings.length > 0 || verbose)
    .flatMap((line) => checkLineText(line, verbose));
}

function checkLineText({ check, message, details, findings }: CheckLine, verbose: boolean): string[] {
  return [
    ...(verbose ? ['', `--- ${check} ---`, ...details.map((detail) => `   ${detail}`)] : []),
    `${symbols[worstOf(findings)]} ${check}: ${message}`,
    ...findings.flatMap(({ code, cause, command }) => [`   ${code}: ${cause}`, `     mend: ${command}`]),
  ];
}

/** Prints a report; true when nothing was found. */
export function printReport(report: ClusterReport, verbose: boolean): boolean {
  for (const line of reportLines(report, verbose)) process.stdout.write(`${line}\n`);
  return severityOf([report]) === 'ok';
}

/** `check -o json`: the shape is documented in docs/multicluster.md and only ever grows. */
export function reportJson(reports: readonly ClusterReport[]): unknown {
  return {
    severity: severityOf(reports),
    clusters: reports.map(({ context, clusterId, lines }) => ({
      context,
      cluster: clusterId,
      severity: worstOf(lines.flatMap(({ findings }) => findings)),
      checks: lines.map(({ check, message, details, findings }) => ({
        check,
        severity: worstOf(findings),
        message,
        details,
        findings: findings.map(({ code, severity, cause, command }) => ({ code, severity, cause, command })),
      })),
    })),
  };
}

import type { ESLint, Rule } from 'eslint';

export declare const roomsPlugin: ESLint.Plugin & { rules: Record<'room-order', Rule.RuleModule> };

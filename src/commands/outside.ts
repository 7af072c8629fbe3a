/**
 * `doctor --public-url`: the whole way that a webhook takes, from outside in. Name, TLS, proxy, receiver, key, inbox;
 * each step needs the one before it, so the first that fails is the one to mend.
 */
import { isRoot } from '../config.ts';
import { PlainError } from '../log.ts';
import { type Finding, fault, note } from './finding.ts';
import { checkEvent, type Way } from './outside/event.ts';
import { checkName, type Names, systemNames } from './outside/name.ts';
import { checkAdmin, checkProxy } from './outside/proxy.ts';
import { checkTls } from './outside/tls.ts';
import type { Context } from './run.ts';

export async function outsideFindings(
  context: Context,
  given: string,
  company: number | undefined,
  names: Names = systemNames(),
): Promise<readonly Finding[]> {
  if (!isRoot(given))
    throw new PlainError('--public-url must be a URL without a path, as https://hooks.example.com');
  const url = new URL(given);
  if (url.protocol === 'http:')
    return [fault('public URL', 'it begins with http: the key in it would be read on the way. Use https')];
  const findings: Finding[] = [];
  const passes = (found: readonly Finding[]) => {
    findings.push(...found);
    return found.every(({ state }) => state !== 'fault');
  };
  const unfinished = () => [...findings, note('outside', 'what comes after this step was not checked')];

  const named = await checkName(url, names);
  if (!passes(named.findings)) return unfinished();
  const greeted = await checkTls(url, named.addresses);
  if (!passes(greeted.findings)) return unfinished();
  const { addresses } = greeted;
  const way: Way = { url, addresses, context, ...(company === undefined ? {} : { company }) };
  for (const step of [checkProxy, checkAdmin, checkEvent]) if (!passes(await step(way))) return unfinished();
  return findings;
}

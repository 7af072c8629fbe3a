/** `hooks_settings`: read, and replaced as a whole. */
import { type Answer, Refusal } from './answers.ts';
import { hooksBody, readHooks } from './hooks.ts';
import type { Call, Route } from './route.ts';

const PATH = '/api/v1/hooks_settings/:company';

export const HOOKS_ROUTES: readonly Route[] = [
  { method: 'GET', path: PATH, operation: 'hooks', needs: 'settings', handle: show },
  { method: 'POST', path: PATH, operation: 'save_hooks', needs: 'settings', handle: save },
];

function show({ branch, quirks }: Call): Answer {
  return { data: hooksBody(branch.hooks(), quirks.hooks) };
}

function save(call: Call): Answer {
  const { branch, quirks, body } = call;
  const wanted = readHooks(body);
  const known = branch.hooks().urls;
  const newcomers = wanted.urls.filter(url => !known.includes(url));
  if (newcomers.length > 0 && quirks.newHooks === 'refused')
    throw new Refusal(403, 'New addresses are registered by applications of the marketplace');
  const urls =
    quirks.newHooks === 'silently_ignored' ? wanted.urls.filter(url => known.includes(url)) : wanted.urls;
  branch.saveHooks({ ...wanted, urls });
  return show(call);
}

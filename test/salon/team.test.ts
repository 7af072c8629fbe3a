/** The team as an operator keeps it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addMember, setOthers, showTeam } from '../../src/salon/team.ts';
import { createPipeline } from '../work/pipeline.ts';

test('nobody of the team is told by a webhook that the company does not have', async t => {
  const pipeline = await createPipeline();
  t.after(() => pipeline.close());
  const { pool } = pipeline;
  await pipeline.addCompany({ companyId: 1 });
  const deps = { pool, actor: 'command', now: pipeline.now } as const;
  const who = { companyId: 1, role: 'administrator', staffId: null, name: '' } as const;
  const webhook = { channel: 'webhook', address: '' } as const;
  const refusal = /^PlainError: company 1 has no webhook URL to tell them at: `company set 1 --webhook-url/;

  await assert.rejects(addMember(deps, who, webhook), refusal);
  assert.deepEqual(await showTeam(pool, 1), []);

  const { memberId } = await addMember(deps, who, { channel: 'console', address: '' });
  await assert.rejects(setOthers(deps, { companyId: 1, memberId }, [webhook]), refusal);
});

/** Copies of a salon's things have nothing of its people in them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEntity } from '../../src/yclients/entities.ts';

test('of a loyalty card the balance is read, and neither the number nor its holder’s phone', () => {
  const body = { id: 8, balance: 150, number: 'LC-00601', phone: '+79995550008' };
  const { title, data, odd } = readEntity('loyalty_card', 'update', body);
  assert.deepEqual({ title, data, odd }, { title: undefined, data: { balance: 150 }, odd: [] });
});

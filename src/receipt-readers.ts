/** Whose receipts and updates are read, by the configuration, and where a provider is to send them. */
import { maxUpdates } from './channels/max-ear.ts';
import {
  cloudReceipts,
  greenApiReceipts,
  type ReceiptReader,
  smscReceipts,
  smsRuReceipts,
  WAZZUP_RECEIPTS,
} from './channels/receipts.ts';
import { vkUpdates } from './channels/vk-ear.ts';
import { whatsappHeard } from './channels/whatsapp-ear.ts';
import type { Config } from './config.ts';

/** By the provider's name, or the channel's where it has one only. What cannot be proven is not read: Meta's need the app's secret. */
export function receiptReaders(config: Config): Map<string, ReceiptReader> {
  const { WHATSAPP_PROVIDER, WHATSAPP_ACCOUNT = '', SMS_PROVIDER, SMS_TOKEN = '' } = config;
  const { MAX_TOKEN, VK_TOKEN, VK_CONFIRMATION: confirmation, VK_SECRET: secret } = config;
  const readers = new Map<string, ReceiptReader>();
  const whatsapp = whatsappReceipts(config);
  if (whatsapp !== undefined && WHATSAPP_PROVIDER !== undefined)
    readers.set(WHATSAPP_PROVIDER, { ...whatsapp, hear: whatsappHeard(WHATSAPP_PROVIDER, WHATSAPP_ACCOUNT) });
  if (SMS_PROVIDER === 'sms.ru') readers.set('sms.ru', smsRuReceipts(SMS_TOKEN));
  if (SMS_PROVIDER === 'smsc') readers.set('smsc', smscReceipts(config.SMS_RECEIPT_SECRET));
  if (MAX_TOKEN !== undefined) readers.set('max', maxUpdates(MAX_TOKEN));
  if (VK_TOKEN !== undefined && confirmation !== undefined && secret !== undefined)
    readers.set('vk', vkUpdates({ confirmation, secret }));
  return readers;
}

function whatsappReceipts({
  WHATSAPP_PROVIDER,
  WHATSAPP_APP_SECRET,
  WHATSAPP_WEBHOOK_TOKEN,
}: Config): ReceiptReader | undefined {
  switch (WHATSAPP_PROVIDER) {
    case 'cloud':
      return WHATSAPP_APP_SECRET === undefined ? undefined : cloudReceipts(WHATSAPP_APP_SECRET);
    case 'green-api':
      return greenApiReceipts(WHATSAPP_WEBHOOK_TOKEN);
    case 'wazzup':
      return WAZZUP_RECEIPTS;
    case undefined:
      return undefined;
  }
}

export function receiptUrl(publicUrl: string, provider: string, secret: string): string {
  return `${publicUrl}/receipts/${provider}/${secret}`;
}

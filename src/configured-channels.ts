/** Which channels the configuration turns on, and with what. */
import type { ChannelName } from './channels/channel.ts';
import type { MaxConfig } from './channels/max.ts';
import type { ChannelsConfig, SmsProviderConfig, WhatsappConfig } from './channels/registry.ts';
import type { TelegramConfig } from './channels/telegram.ts';
import type { VkConfig } from './channels/vk.ts';
import type { Config } from './config.ts';
import { writeLine } from './output.ts';
import { receiptReaders } from './receipt-readers.ts';

/** The settings that turn a channel on; null: it is always on. */
export const TURNED_ON_BY: Readonly<Record<ChannelName, string | null>> = {
  console: null,
  webhook: null,
  telegram: 'TELEGRAM_TOKEN',
  max: 'MAX_TOKEN',
  whatsapp: 'WHATSAPP_PROVIDER, WHATSAPP_TOKEN and WHATSAPP_ACCOUNT',
  sms: 'SMS_PROVIDER and SMS_TOKEN',
  vk: 'VK_TOKEN',
  email: 'SMTP_URL and EMAIL_FROM',
};

const WEBHOOK_TIMEOUT_MS = 10_000;

export function channelsConfig(config: Config): ChannelsConfig {
  const { SMTP_URL, EMAIL_FROM } = config;
  return {
    console: { write: writeLine },
    webhook: { allowPrivate: config.WEBHOOK_ALLOW_PRIVATE, timeoutMs: WEBHOOK_TIMEOUT_MS },
    // Told where to send them by nobody but ourselves.
    receiptsFrom: new Set(config.PUBLIC_URL === undefined ? [] : receiptReaders(config).keys()),
    telegram: telegramOf(config),
    max: maxOf(config),
    whatsapp: whatsappOf(config),
    sms: smsOf(config),
    vk: vkOf(config),
    email: SMTP_URL === undefined ? undefined : { smtpUrl: SMTP_URL, from: EMAIL_FROM },
  };
}

export function telegramOf({
  TELEGRAM_TOKEN: token,
  TELEGRAM_API_ROOT: apiRoot,
}: Config): TelegramConfig | undefined {
  return token === undefined ? undefined : { token, apiRoot };
}

export function maxOf({ MAX_TOKEN: token, MAX_API_URL: apiUrl }: Config): MaxConfig | undefined {
  return token === undefined ? undefined : { token, apiUrl };
}

export function vkOf({ VK_TOKEN: token, VK_API_URL: apiUrl }: Config): VkConfig | undefined {
  return token === undefined ? undefined : { token, apiUrl };
}

/** `readConfig` has seen to it that what a provider needs is set. */
function whatsappOf(config: Config): WhatsappConfig | undefined {
  const { WHATSAPP_PROVIDER: provider, WHATSAPP_API_URL: apiUrl, WHATSAPP_TEMPLATE: template } = config;
  const { WHATSAPP_TOKEN: token = '', WHATSAPP_ACCOUNT: account = '' } = config;
  switch (provider) {
    case undefined:
      return undefined;
    case 'green-api':
      return { provider, token, account, apiUrl: apiUrl ?? '' };
    case 'cloud':
      return { provider, token, account, apiUrl, template };
    case 'wazzup':
      return { provider, token, account, apiUrl };
  }
}

function smsOf(config: Config): SmsProviderConfig | undefined {
  const { SMS_PROVIDER: provider, SMS_TOKEN: token = '', SMS_SENDER: sender } = config;
  if (provider === undefined) return undefined;
  return {
    ...{ provider, token, sender, maxParts: config.SMS_MAX_PARTS, apiUrl: config.SMS_API_URL },
    leastBalance: config.ALERT_BALANCE,
  };
}

/** The channels that are configured. Adding one: its file beside this, a name in `channel.ts`, a line here. */
import type { Channel, ChannelName } from './channel.ts';
import { type ConsoleConfig, createConsole } from './console.ts';
import { createEmail, type EmailConfig } from './email.ts';
import { createGreenApi, type GreenApiConfig } from './green-api.ts';
import { createMax, type MaxConfig } from './max.ts';
import type { SmsConfig } from './sms.ts';
import { createSmsRu } from './sms-ru.ts';
import { createSmsc } from './smsc.ts';
import { createTelegram, type TelegramConfig } from './telegram.ts';
import { createVk, type VkConfig } from './vk.ts';
import { createWazzup, type WazzupConfig } from './wazzup.ts';
import { createWebhook, type WebhookConfig } from './webhook.ts';
import { createWhatsappCloud, type WhatsappCloudConfig } from './whatsapp-cloud.ts';

/** One channel, whoever carries it. */
export type WhatsappConfig =
  | ({ readonly provider: 'cloud' } & WhatsappCloudConfig)
  | ({ readonly provider: 'green-api' } & GreenApiConfig)
  | ({ readonly provider: 'wazzup' } & WazzupConfig);
export type SmsProviderConfig = { readonly provider: 'sms.ru' | 'smsc' } & SmsConfig;

export type ChannelsConfig = {
  readonly console: ConsoleConfig;
  readonly telegram?: TelegramConfig | undefined;
  readonly max?: MaxConfig | undefined;
  readonly whatsapp?: WhatsappConfig | undefined;
  readonly sms?: SmsProviderConfig | undefined;
  readonly vk?: VkConfig | undefined;
  readonly email?: EmailConfig | undefined;
  readonly webhook: WebhookConfig;
  /** Providers whose receipts can reach us; of the others none is waited for. */
  readonly receiptsFrom?: ReadonlySet<string>;
};

/** A channel that is not configured is absent. Throws on a setting that can never work. */
export function createChannels(config: ChannelsConfig): Map<ChannelName, Channel> {
  const channels = [createConsole(config.console), createWebhook(config.webhook)];
  if (config.telegram) channels.push(createTelegram(config.telegram));
  if (config.max) channels.push(createMax(config.max));
  if (config.whatsapp) channels.push(createWhatsapp(config.whatsapp));
  if (config.sms) channels.push(createSms(config.sms));
  if (config.vk) channels.push(createVk(config.vk));
  if (config.email) channels.push(createEmail(config.email));
  return new Map(channels.map(channel => [channel.name, heard(channel, config.receiptsFrom)]));
}

function heard(channel: Channel, receiptsFrom: ReadonlySet<string> = new Set()): Channel {
  if (receiptsFrom.has(channel.provider ?? '')) return channel;
  return { ...channel, traits: { ...channel.traits, receiptWithinMs: null } };
}

/** Ends the connections that channels keep open, for the stop of a process. */
export async function closeChannels(channels: ReadonlyMap<ChannelName, Channel>): Promise<void> {
  await Promise.all([...channels.values()].map(channel => channel.close?.()));
}

function createWhatsapp(config: WhatsappConfig): Channel {
  switch (config.provider) {
    case 'cloud':
      return createWhatsappCloud(config);
    case 'green-api':
      return createGreenApi(config);
    case 'wazzup':
      return createWazzup(config);
  }
}

function createSms(config: SmsProviderConfig): Channel {
  switch (config.provider) {
    case 'sms.ru':
      return createSmsRu(config);
    case 'smsc':
      return createSmsc(config);
  }
}

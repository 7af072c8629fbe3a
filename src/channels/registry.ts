/** The channels that are configured. Adding one: its file beside this, a name in `channel.ts`, a line here. */
import type { Channel, ChannelName } from './channel.ts';
import { type ConsoleConfig, createConsole } from './console.ts';
import { createEmail, type EmailConfig } from './email.ts';
import { createTelegram, type TelegramConfig } from './telegram.ts';
import { createWebhook, type WebhookConfig } from './webhook.ts';

export type ChannelsConfig = {
  readonly console: ConsoleConfig;
  readonly telegram?: TelegramConfig | undefined;
  readonly email?: EmailConfig | undefined;
  readonly webhook: WebhookConfig;
};

/** A channel that is not configured is absent. Throws on a setting that can never work. */
export function createChannels(config: ChannelsConfig): Map<ChannelName, Channel> {
  const channels = [createConsole(config.console), createWebhook(config.webhook)];
  if (config.telegram) channels.push(createTelegram(config.telegram));
  if (config.email) channels.push(createEmail(config.email));
  return new Map(channels.map(channel => [channel.name, channel]));
}

/** Ends the connections that channels keep open, for the stop of a process. */
export async function closeChannels(channels: ReadonlyMap<ChannelName, Channel>): Promise<void> {
  await Promise.all([...channels.values()].map(channel => channel.close?.()));
}

/** Where people's answers are heard, by the configuration. */
import type { Channel, ChannelName } from './channels/channel.ts';
import type { Ear, ToldEar } from './channels/ear.ts';
import { createMaxEar } from './channels/max-ear.ts';
import { createSmscEar } from './channels/smsc-ear.ts';
import { createTelegramEar } from './channels/telegram-ear.ts';
import { createVkEar } from './channels/vk-ear.ts';
import { createWhatsappEar } from './channels/whatsapp-ear.ts';
import { type Config, isReachable } from './config.ts';
import { maxOf, telegramOf, vkOf } from './configured-channels.ts';

/** Channels whose buttons are of use: somebody listens, or the messenger can bring what it hears. */
export function answeredOn(config: Config): ReadonlySet<ChannelName> {
  const told = config.PUBLIC_URL !== undefined && isReachable(config.PUBLIC_URL);
  return new Set<ChannelName>([
    ...(config.TELEGRAM_TOKEN === undefined ? [] : (['telegram'] as const)),
    ...(config.MAX_TOKEN === undefined || !told ? [] : (['max'] as const)),
    ...(config.VK_TOKEN === undefined || config.VK_CONFIRMATION === undefined || !told
      ? []
      : (['vk'] as const)),
    ...(config.SMS_PROVIDER === 'smsc' ? (['sms'] as const) : []),
  ]);
}

/** An ear for each of these. `sms` sends what is said back by SMS. */
export function createEars(
  config: Config,
  { sms }: { readonly sms: Channel | undefined },
): (Ear | ToldEar)[] {
  const heard = answeredOn(config);
  const [telegram, max, vk] = [telegramOf(config), maxOf(config), vkOf(config)];
  const ears: (Ear | ToldEar)[] = [];
  if (telegram !== undefined) ears.push(createTelegramEar(telegram));
  if (max !== undefined && heard.has('max')) ears.push(createMaxEar(max));
  if (vk !== undefined && heard.has('vk')) ears.push(createVkEar(vk));
  if (sms !== undefined && heard.has('sms')) {
    const { SMS_TOKEN: token = '', SMS_API_URL: apiUrl } = config;
    ears.push(createSmscEar({ token, apiUrl, channel: sms }));
  }
  if (config.WHATSAPP_PROVIDER !== undefined) ears.push(createWhatsappEar(config.WHATSAPP_PROVIDER));
  return ears;
}

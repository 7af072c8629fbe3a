/**
 * Configuration: the only reader of the environment. Every setting is here with its default, its unit and its reason.
 */
import { z } from 'zod';
import { readSender } from './channels/mailbox.ts';
import { distance, nearestOf } from './domain/nearest.ts';
import { TOKEN } from './domain/token.ts';
import { readHours } from './domain/working-time.ts';
import { isRange } from './http/request-id.ts';
import { PlainError } from './log.ts';
import './plain-words.ts';

export const ROLES = ['receive', 'process', 'dispatch', 'reconcile', 'listen', 'upkeep', 'web'] as const;
export type Role = (typeof ROLES)[number];

const port = z.coerce.number().int().min(0).max(65535);
const list = z.string().transform(value =>
  value
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== ''),
);
const fieldName = z
  .string()
  .regex(/^[\w.-]{1,60}$/, 'must be the name of a field, e.g. msisdn')
  .optional();
const key = z
  .string()
  .transform(value => Buffer.from(value, /^[0-9a-f]{64}$/i.test(value) ? 'hex' : 'base64'))
  .refine(
    bytes => bytes.length === 32,
    'must be 32 bytes, written as base64 or hex: try `openssl rand -base64 32`',
  );
/** An escape is that of a character that a header may hold. */
const OTLP_HEADER = /^[\w-]+=(?:%[2-7][0-9a-f]|[\x20-\x24\x26-\x7e])*$/i;
/** Goes into a header between `Bearer` or `User` and a comma. */
const token = z.string().regex(TOKEN, 'must be the token alone, without blanks');
const days = z.coerce.number().int().min(0).max(36_500);
/** A limit from which an alert is raised; 0 switches the alert off. */
const limit = z.coerce.number().min(0).max(1_000_000);
const percent = limit.max(100);
const url = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });

const schema = z.object({
  DATABASE_URL: z
    .url({
      protocol: /^postgres(ql)?$/,
      error: 'must look like postgresql://user:password@host:5432/database',
    })
    .optional()
    .describe('PostgreSQL 15 or newer. Unset: an embedded PostgreSQL 18 in DATA_DIR.'),
  DATA_DIR: z
    .string()
    .default('./data')
    .describe(
      'Where the embedded database and the generated keys live. The units of deploy/systemd set /var/lib/otklik: leave it to them.',
    ),
  HOST: z
    .string()
    .default('127.0.0.1')
    .describe('Address both ports listen on; a proxy with TLS stands in front.'),
  PUBLIC_PORT: port.default(8080).describe('Port of the webhook receiver, the only one to expose.'),
  PUBLIC_PORT_SHARED: z
    .stringbool()
    .default(false)
    .describe(
      'Lets several processes of one user receive on PUBLIC_PORT (Linux), each with an ADMIN_PORT of its own.',
    ),
  ADMIN_PORT: port.default(8081).describe('Port of the API, health and metrics. Never expose it bare.'),
  PUBLIC_URL: z
    .string()
    .refine(isRoot, 'must be an http or https URL without a path, as https://hooks.example.com')
    .transform(withoutSlash)
    .optional()
    .describe('How the receiver is reached from outside, for the URLs we print: scheme and name, no path.'),
  ROLES: list
    .pipe(z.array(z.enum(ROLES)).min(1))
    .default([...ROLES])
    .describe('What this process does: receive, process, dispatch, reconcile, listen, upkeep, web.'),
  OTKLIK_KEY: key
    .optional()
    .describe('32 bytes that seal stored secrets. Embedded: generated into DATA_DIR.'),
  OTKLIK_KEY_OLD: key.optional().describe('The key before this one, until `rotate-master-key` has run.'),
  ADMIN_TOKEN: z
    .string()
    .min(16, 'must be at least 16 characters')
    .optional()
    .describe(
      'Bearer token of the API. Unset: generated and shown once; without a terminal, in DATA_DIR/admin-token.',
    ),
  TRUSTED_PROXIES: list
    .refine(
      ranges => ranges.every(isRange),
      'must be addresses or ranges such as 10.0.0.0/8, comma-separated',
    )
    .default([])
    .describe('CIDR ranges whose X-Forwarded-For, X-Request-Id and traceparent are believed.'),
  RATE_PER_COMPANY: z.coerce
    .number()
    .int()
    .positive()
    .default(100)
    .describe('Webhooks a second of one company, averaged over 10 s.'),
  RATE_PER_ADDRESS: z.coerce
    .number()
    .int()
    .positive()
    .default(2000)
    .describe(
      'Webhooks a second from one address, averaged over 10 s; all salons arrive from the platform’s few addresses.',
    ),
  YCLIENTS_PARTNER_TOKEN: token
    .optional()
    .describe(
      'First half of the authorisation at the platform’s API, and what the marketplace signs with. Unset: neither is used.',
    ),
  YCLIENTS_USER_TOKEN: token
    .optional()
    .describe('Second half, for companies without a user token of their own.'),
  YCLIENTS_API_URL: url.optional().describe('In place of https://api.yclients.com and https://api.alteg.io.'),
  ALTEGIO_PARTNER_TOKEN: token.optional().describe('For companies at Altegio, where it is another.'),
  ALTEGIO_USER_TOKEN: token.optional().describe('For companies at Altegio, where it is another.'),
  YCLIENTS_STATUS_URL: url
    .optional()
    .describe(
      'In place of https://yclients.com and https://app.alteg.io: where the platform is told what became of its texts (docs/sms-operator.md).',
    ),
  OPERATOR_ID_FIELD: fieldName.describe(
    'Name of the id in `destination_params` of a text, where it is none of those that are known (docs/sms-operator.md).',
  ),
  OPERATOR_PHONE_FIELD: fieldName.describe('The same of the phone.'),
  API_ADDRESS: z
    .string()
    .regex(/^[\w.:-]{1,60}$/, 'must be a short name, e.g. an address')
    .default('default')
    .describe('Names the address we call the API from: processes behind one share a budget of calls.'),
  TELEGRAM_TOKEN: z
    .string()
    .regex(/^\d+:[\w-]+$/, 'must be a token from @BotFather')
    .optional()
    .describe('Turns the telegram channel on; the role listen hears what people answer to the bot.'),
  TELEGRAM_API_ROOT: url
    .optional()
    .describe('A proxy or a local Bot API server instead of api.telegram.org.'),
  MAX_TOKEN: token
    .optional()
    .describe(
      'Turns the max channel on. From business.max.ru: Чат-боты → ⋮ → Настройки; bots are for Russian organisations.',
    ),
  MAX_API_URL: url.optional().describe('In place of https://platform-api2.max.ru.'),
  WHATSAPP_PROVIDER: z
    .enum(['cloud', 'green-api', 'wazzup'])
    .optional()
    .describe('Turns the whatsapp channel on, and says who carries it.'),
  WHATSAPP_TOKEN: token
    .optional()
    .describe(
      'cloud: a system user’s token with whatsapp_business_messaging; green-api: apiTokenInstance; wazzup: the API key.',
    ),
  WHATSAPP_ACCOUNT: z
    .string()
    .regex(/^[\w-]{1,64}$/, 'must be the id alone')
    .optional()
    .describe(
      'cloud: the id of the phone number (not the number); green-api: idInstance; wazzup: channelId.',
    ),
  WHATSAPP_API_URL: url
    .optional()
    .describe(
      'green-api: the apiUrl of your instance, required; cloud and wazzup: another address, e.g. of a proxy.',
    ),
  WHATSAPP_TEMPLATE: z
    .string()
    .regex(/^[a-z0-9_]{1,512}:[A-Za-z_]{2,10}$/, 'must be a name and a language, e.g. visit_news:ru')
    .transform(value => {
      const [name = '', language = ''] = value.split(':');
      return { name, language };
    })
    .optional()
    .describe('cloud: an approved template with one variable, for people who have not written within a day.'),
  WHATSAPP_APP_SECRET: token
    .optional()
    .describe('cloud: the app’s secret, which proves its receipts; unset: they are not read.'),
  WHATSAPP_WEBHOOK_TOKEN: token
    .optional()
    .describe(
      'green-api: the webhookUrlToken of the instance, which its receipts then have to bring; unset: the address alone proves them.',
    ),
  SMS_PROVIDER: z
    .enum(['sms.ru', 'smsc'])
    .optional()
    .describe('Turns the sms channel on, and says who carries it.'),
  SMS_TOKEN: token.optional().describe('sms.ru: api_id, on its first page; smsc: an API key (apikey).'),
  SMS_RECEIPT_SECRET: token
    .optional()
    .describe(
      'smsc: the secret under which its receipts are hashed (docs/channels.md); unset: the address alone proves them.',
    ),
  SMS_SENDER: z
    .string()
    .regex(/^[\w .-]{1,15}$/, 'must be at most 15 letters and digits')
    .optional()
    .describe('A sender’s name agreed with the provider; unset: the account’s own.'),
  SMS_MAX_PARTS: z.coerce
    .number()
    .int()
    .min(1)
    .max(8)
    .default(4)
    .describe(
      'SMS that one message may be cut into; each is paid. Cyrillic: 70 characters alone, 67 each of several.',
    ),
  SMS_API_URL: url.optional().describe('In place of https://sms.ru or https://smsc.ru.'),
  VK_TOKEN: token
    .optional()
    .describe(
      'Turns the vk channel on: a community’s key with the right to messages, Управление → Работа с API → Ключи доступа.',
    ),
  VK_CONFIRMATION: z
    .string()
    .regex(/^[\w-]{4,64}$/, 'must be the string alone')
    .optional()
    .describe(
      'What VK expects when it tries the address of updates: Управление → Работа с API → Callback API. Unset: no buttons.',
    ),
  VK_SECRET: z
    .string()
    .regex(/^[\w-]{8,50}$/, 'must be 8 to 50 letters and digits')
    .optional()
    .describe('The secret key entered there, which proves what VK brings.'),
  VK_API_URL: url.optional().describe('In place of https://api.vk.com.'),
  SMTP_URL: z
    .url({ protocol: /^smtps?$/, error: 'must look like smtp://user:password@host:587' })
    .optional()
    .describe('Turns the email channel on.'),
  EMAIL_FROM: z
    .string()
    .refine(
      text => readSender(text) !== undefined,
      'must be an address, as robot@salon.example, or Salon <robot@salon.example>',
    )
    .default('')
    .describe('Sender of e-mails, without quotes: `Salon <robot@salon.example>`.'),
  WEBHOOK_ALLOW_PRIVATE: z
    .stringbool()
    .default(false)
    .describe('Lets the webhook channel call loopback and private addresses (a bot on the same machine).'),
  YCLIENTS_BRAND: z
    .enum(['yclients', 'altegio'])
    .default('yclients')
    .describe('The platform whose marketplace connects salons here.'),
  YCLIENTS_APPLICATION_ID: z.coerce
    .number()
    .int()
    .positive()
    .optional()
    .describe('Number of your marketplace application; needed to connect salons by it.'),
  YCLIENTS_MARKETPLACE_URL: url
    .optional()
    .describe('Another address of the marketplace’s activation, for tests.'),
  KEEP_EVENTS_DAYS: days
    .default(90)
    .describe('Days that processed events are kept, with what the platform sent. 0: for ever.'),
  KEEP_MESSAGES_DAYS: days
    .default(365)
    .describe('Days that ended messages are kept, with their text and every try. 0: for ever.'),
  KEEP_BOOKINGS_DAYS: days
    .default(730)
    .describe(
      'Days after its visit that a booking is kept, with its history and people who have no other. 0: for ever.',
    ),
  KEEP_DEAD_DAYS: days
    .default(365)
    .describe(
      'Days that events given up and bodies nobody could read are kept: people’s data is in them. 0: for ever.',
    ),
  KEEP_AUDIT_DAYS: days
    .default(1095)
    .describe('Days that the audit log is kept: who did what, by command or API. 0: for ever.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: url
    .optional()
    .describe('Where traces go by OTLP over HTTP, as http://localhost:4318. Unset: none are kept.'),
  OTEL_EXPORTER_OTLP_HEADERS: list
    .pipe(z.array(z.string().regex(OTLP_HEADER, 'must be name=value, comma-separated, percent-encoded')))
    .default([])
    .describe('What the collector asks for, as authorization=Bearer%20…; percent-encoded.'),
  OTEL_TRACES_SAMPLER_ARG: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('Share of traces that are kept, 0 to 1; all of a trace or nothing.'),
  ALERT_TELEGRAM_CHAT: z
    .string()
    .regex(/^(-?\d{1,20}|@\w{5,32})$/, 'must be a chat id or @channel')
    .optional()
    .describe('Chat that is told of trouble, by the bot of TELEGRAM_TOKEN.'),
  ALERT_EMAIL: z.email('must be one e-mail address').optional().describe('Mailbox that is told of trouble.'),
  ALERT_WEBHOOK_URL: url
    .optional()
    .describe('URL that is told of trouble, in the form of the webhook channel.'),
  ALERT_WEBHOOK_SECRET: z
    .string()
    .regex(/^whsec_[A-Za-z0-9+/]{32,100}={0,2}$/, 'must look like whsec_<base64>')
    .optional()
    .describe('What these are signed with: `echo whsec_$(openssl rand -base64 32)`.'),
  ALERT_LOCALE: z.enum(['ru', 'en']).default('ru').describe('Language of alerts.'),
  ALERT_SILENT_HOURS: limit
    .default(12)
    .describe('Working hours of a company without a webhook. 0, here and below: no such alert.'),
  ALERT_WORKING_HOURS: z
    .string()
    .refine(text => readHours(text) !== undefined, 'must look like 9-21')
    .default('9-21')
    .describe('Hours of the day that count as working, in each company’s own zone.'),
  ALERT_BACKLOG_SECONDS: limit.default(120).describe('Age of the oldest event or message that waits.'),
  ALERT_DEAD_LETTERS: limit.default(1).describe('Events given up, or messages given up within a day.'),
  ALERT_MISSED_PERCENT: percent
    .default(10)
    .describe('Share of a company’s changes in 24 hours that no webhook had brought.'),
  ALERT_REJECTS: limit.default(100).describe('Requests refused within an hour for one cause.'),
  ALERT_REFUSED: limit
    .default(5)
    .describe(
      'The same behind a salon’s key: unreadable, a signature that does not hold, too many, too large. Each was sent once.',
    ),
  ALERT_MARKETPLACE_REJECTS: limit
    .default(5)
    .describe('The same at the marketplace’s routes, where each is a salon that wants in or out.'),
  ALERT_UNKEPT: limit
    .default(5)
    .describe('The same of events that we could not keep: a full disk, a database away. Each was sent once.'),
  ALERT_CERTIFICATE_DAYS: limit.default(14).describe('Days before the certificate of PUBLIC_URL expires.'),
  ALERT_API_MINUTES: limit
    .default(15)
    .describe(
      'Minutes for which a company’s API cannot be read: a token that ended, a right that is lacking.',
    ),
  ALERT_DISK_PERCENT: percent.default(10).describe('Free space of the disk of DATA_DIR.'),
  ALERT_DATABASE_SECONDS: limit
    .default(60)
    .describe('Seconds for which the database does not answer; told without it.'),
  ALERT_PROVIDER_PERCENT: percent
    .default(50)
    .describe('Share of tries in 15 minutes that failed at a channel’s provider.'),
  ALERT_ACCOUNT_MINUTES: limit
    .default(60)
    .describe('Minutes between two questions to each channel’s provider whether our account still works.'),
  ALERT_BALANCE: limit
    .default(300)
    .describe(
      'Money of an SMS account, in its own currency, below which it is about to fail. 0: for one that is paid afterwards.',
    ),
  ALERT_DRIFT: limit
    .default(10)
    .describe('Bodies of two days that are odd in one place: fewer are no change of the format.'),
  ALERT_BACKUP_HOURS: limit
    .optional()
    .describe('Hours without a good `backup`. Unset: 36, once a first one was made; set: before that, too.'),
  OTKLIK_COMMAND: z
    .string()
    .default('npm run otklik --')
    .describe(
      'How commands are typed on this machine, for the hints we print; deploy/systemd/otklik sets it.',
    ),
  LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least level that is logged.'),
});

export type Config = z.infer<typeof schema>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Reads and checks the environment. An empty value counts as unset. Throws one error that names every fault. */
export function readConfig(environment: Environment): Config {
  const filled = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(filled);
  if (!parsed.success) {
    // A list is one setting: which of its items is meant, the words say.
    const faults = parsed.error.issues.map(({ path, message }) => `  ${String(path[0])}: ${message}`);
    throw new PlainError(`the configuration is not valid:\n${faults.join('\n')}`);
  }
  const lacks = [...lacking(parsed.data), ...clashing(parsed.data)];
  if (lacks.length > 0)
    throw new PlainError(`the configuration is not valid:\n${lacks.map(lack => `  ${lack}`).join('\n')}`);
  return parsed.data;
}

/** Names that only we use: what begins so and is no setting was meant as one. */
const OURS =
  /^(ADMIN|ALERT|ALTEGIO|KEEP|MAX|OPERATOR|OTKLIK|PUBLIC|RATE|SMS|SMTP|TELEGRAM|TRUSTED|VK|WEBHOOK|WHATSAPP|YCLIENTS)_/;
/** Of any other name a slip of one letter, or two exchanged, in a long one: `DATABSE_URL`. */
const SLIP = { letters: 2, leastLength: 8 };

/** Variables that look like settings and are none, in words for the operator; never a value. */
export function unknownSettings(environment: Environment): readonly string[] {
  const known = Object.keys(schema.shape);
  return Object.keys(environment).flatMap(name => {
    if (known.includes(name)) return [];
    const meant = nearestOf(name, known);
    const slipped =
      meant !== undefined && name.length >= SLIP.leastLength && distance(name, meant) <= SLIP.letters;
    if (!OURS.test(name) && !slipped) return [];
    return [`${name} is no setting and does nothing${meant === undefined ? '' : `: did you mean ${meant}?`}`];
  });
}

/** With 0 each gets a free port. */
function clashing({ ROLES: roles, PUBLIC_PORT, ADMIN_PORT }: Config): string[] {
  const clash = roles.includes('receive') && PUBLIC_PORT === ADMIN_PORT && PUBLIC_PORT !== 0;
  return clash ? ['ADMIN_PORT: must be another port than PUBLIC_PORT'] : [];
}

/** Settings that others need. */
function lacking(config: Config): string[] {
  const { SMTP_URL, EMAIL_FROM, SMS_PROVIDER, WHATSAPP_PROVIDER } = config;
  const needs: ReadonlyArray<readonly [keyof Config, boolean, string]> = [
    ['EMAIL_FROM', SMTP_URL !== undefined && EMAIL_FROM === '', 'SMTP_URL is'],
    [
      'TELEGRAM_TOKEN',
      config.ALERT_TELEGRAM_CHAT !== undefined && config.TELEGRAM_TOKEN === undefined,
      'ALERT_TELEGRAM_CHAT is',
    ],
    [
      'VK_SECRET',
      config.VK_CONFIRMATION !== undefined && config.VK_SECRET === undefined,
      'VK_CONFIRMATION is',
    ],
    ['SMTP_URL', config.ALERT_EMAIL !== undefined && SMTP_URL === undefined, 'ALERT_EMAIL is'],
    [
      'ALERT_WEBHOOK_SECRET',
      config.ALERT_WEBHOOK_URL !== undefined && config.ALERT_WEBHOOK_SECRET === undefined,
      'ALERT_WEBHOOK_URL is',
    ],
    ['SMS_TOKEN', SMS_PROVIDER !== undefined && config.SMS_TOKEN === undefined, 'SMS_PROVIDER is'],
    ...(['WHATSAPP_TOKEN', 'WHATSAPP_ACCOUNT'] as const).map(
      name =>
        [
          name,
          WHATSAPP_PROVIDER !== undefined && config[name] === undefined,
          'WHATSAPP_PROVIDER is',
        ] as const,
    ),
    [
      'WHATSAPP_API_URL',
      WHATSAPP_PROVIDER === 'green-api' && config.WHATSAPP_API_URL === undefined,
      'WHATSAPP_PROVIDER is green-api',
    ],
  ];
  return needs.filter(([, lacks]) => lacks).map(([name, , when]) => `${name}: must be set when ${when}`);
}

/** What connecting by the marketplace needs besides the partner token and is not set, in words for the operator. */
export function marketplaceLacks({ PUBLIC_URL, YCLIENTS_APPLICATION_ID }: Config): readonly string[] {
  return [
    ...(YCLIENTS_APPLICATION_ID === undefined ? ['YCLIENTS_APPLICATION_ID is not set'] : []),
    ...(PUBLIC_URL === undefined ? ['PUBLIC_URL is not set'] : []),
    ...(PUBLIC_URL !== undefined && !isReachable(PUBLIC_URL) ? ['PUBLIC_URL must begin with https'] : []),
  ];
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** Whether a URL of ours may be given to the platform: its key is a secret, so by TLS; loopback is for trying things out. */
export function isReachable(address: string): boolean {
  const { protocol, hostname } = new URL(address);
  return protocol === 'https:' || LOOPBACK.includes(hostname);
}

/** Whether somebody else can call a URL of ours: by TLS, and not on this machine alone. */
export function isReachableFromOutside(address: string): boolean {
  return isReachable(address) && !LOOPBACK.includes(new URL(address).hostname);
}

/**
 * Whether a URL is a scheme, a name and a port alone. The receiver's paths begin at the root, and with a path before
 * them every webhook was answered 404: no proxy of ours takes one away.
 */
export function isRoot(address: string): boolean {
  return /^https?:\/\/[^/?#@\s]+\/?$/i.test(address) && URL.canParse(address);
}

function withoutSlash(address: string): string {
  return address.replace(/\/$/, '');
}

/** Every setting with what holds when it is unset, for docs/configuration.md. */
export function describeSettings(): readonly {
  readonly name: string;
  readonly default: string;
  readonly meaning: string;
}[] {
  return Object.entries(schema.shape).map(([name, setting]) => {
    const unset = setting.safeParse(undefined).data;
    return { name, default: unset === undefined ? '' : String(unset), meaning: setting.description ?? '' };
  });
}

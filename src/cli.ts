/**
 * The commands. Each is a few lines here and a function in `commands/`; `--json` prints one JSON value everywhere.
 *
 * A command's code is loaded when it runs: all of it at every start took 1.3 s of a processor, `--help` included.
 */

import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { CHANNEL_NAMES } from './channels/channel.ts';
import type { CommandFunction } from './commands/run.ts';
import { MUTABLE_KINDS } from './domain/alert.ts';
import { nearestOf } from './domain/nearest.ts';
import { EVENT_STATES, MESSAGE_STATES } from './domain/states.ts';
import { surviveOutput } from './output.ts';
import { VERSION } from './version.ts';

const program = new Command('otklik')
  .description('Turns the webhooks of YClients and Altegio into the right message to the right person, once.')
  .version(VERSION)
  .showSuggestionAfterError()
  .showHelpAfterError('(add --help for what there is)')
  .configureHelp({
    showGlobalOptions: true,
    // With its arguments `address` alone left no room beside it, and nothing was broken between words at 80 columns.
    subcommandTerm: command => (command.parent?.parent ? withArguments(command) : command.name()),
  });

const json = () => new Option('--json', 'print JSON');
const mutable = () => new Argument('<kind>', 'the kind of alert, as the list has it').choices(MUTABLE_KINDS);
const invitedTo = () =>
  new Option('--channel <channel>', 'the messenger; where one is set up, that').choices([
    'telegram',
    'max',
    'vk',
  ]);
const consentChannel = () => new Option('--channel <channel>', 'there only; else wherever they are reached');
const consentCategory = (unset: string) =>
  new Option('--category <category>', `of these messages only; unset: ${unset}`).choices([
    'service',
    'advertising',
  ]);
const consentReason = () =>
  new Option('--reason <words>', 'whose word it is and how it came, kept as proof').makeOptionMandatory();
const source = () =>
  new Option('--source <source>', 'where changes come from; at first webhook').choices([
    'webhook',
    'poll',
    'both',
  ]);
const verify = () =>
  new Option('--verify <when>', 'read a record again after its webhook; at first doubt').choices([
    'always',
    'doubt',
    'never',
  ]);
const sweep = () =>
  new Option('--sweep <time>', 'how often its webhooks are reconciled with the API; at first 15m').argParser(
    duration,
  );
const poll = () =>
  new Option('--poll <time>', 'how often the API is asked when polling; at first 60s').argParser(duration);
const userToken = () =>
  new Option(
    '--user-token-stdin',
    'read its user token of the platform’s API from standard input: arguments are seen by everyone on the machine',
  );

program
  .command('serve')
  .description('run the service: the roles named in ROLES, all of them unless set')
  .action(run(() => import('./commands/serve.ts').then(module => module.serve)));

program
  .command('demo')
  .description('see it work: the service, a fake salon with every fault of the wire, messages on this screen')
  .option('--for <time>', 'end by itself after this long, e.g. 60s, and compare', duration)
  .option('--seed <number>', 'the same salon again', whole, 1)
  .option('--per-second <number>', 'changes a second in the salon', rate, 2)
  .option('--faults <list>', 'all, none, or a list of faults', 'all')
  .addOption(
    new Option('--brand <brand>', 'whose shapes the salon speaks')
      .choices(['yclients', 'altegio'])
      .default('yclients'),
  )
  .addOption(json())
  .action(run(() => import('./commands/demo.ts').then(module => module.demo)));

program
  .command('simulate')
  .description('a fake salon that sends its webhooks to a URL, and answers for itself by a REST API')
  .option('--to <url>', 'the webhook URL, as `company add` prints it')
  .requiredOption('--company <id>', 'the company that the URL belongs to', whole)
  .option('--for <time>', 'end after this long', duration)
  .option('--seed <number>', 'the same salon again', whole, 1)
  .option('--per-second <number>', 'changes a second', rate, 2)
  .option('--faults <list>', 'all, none, or a list of faults', 'all')
  .option('--drop <share>', 'share of webhooks that are never sent, 0 to 1', rate)
  .addOption(
    new Option('--brand <brand>', 'whose shapes').choices(['yclients', 'altegio']).default('yclients'),
  )
  .option('--zone <zone>', 'the salon’s zone', 'Europe/Moscow')
  .option('--ledger <file>', 'write the salon’s own books there at the end')
  .option('--api-port <port>', 'serve the salon’s REST API on this port: point YCLIENTS_API_URL at it', whole)
  .option(
    '--api-faults <list>',
    'what goes wrong with calls, with its share: error, hang, down, truncated, html, limited; e.g. error:0.1,hang:0.01',
    'none',
  )
  .addOption(json())
  .action(run(() => import('./commands/simulate.ts').then(module => module.simulate)));

const company = program.command('company').description('the salons we work for');
company
  .command('add <id>')
  .description('add a company and print the URL to give to YClients')
  .requiredOption('--title <title>', 'its name, as clients know it')
  .requiredOption('--zone <zone>', 'its IANA zone, e.g. Europe/Moscow')
  .addOption(
    new Option('--brand <brand>', 'the platform').choices(['yclients', 'altegio']).default('yclients'),
  )
  .addOption(new Option('--locale <locale>', 'language of the messages').choices(['ru', 'en']).default('ru'))
  .option(
    '--settle <time>',
    'how long to wait for the next change before telling the client; unset: 5s',
    duration,
  )
  .option('--route <list>', `channels in order of preference: ${CHANNEL_NAMES.join(', ')}`, 'console')
  .option('--webhook-url <url>', 'where the webhook channel posts: your bot')
  .option('--bot-api-prefix <prefix>', 'how api_id begins in bookings made by your bot')
  .option('--require-signature', 'accept only signed webhooks (the platform signs nothing)')
  .addOption(source())
  .addOption(verify())
  .addOption(sweep())
  .addOption(poll())
  .addOption(userToken())
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyAdd)));
company
  .command('set <id>')
  .description('change a company: how its clients are reached and spoken to, and how it is read')
  .option('--title <title>', 'its name, until the platform tells another')
  .option('--zone <zone>', 'its IANA zone, until the platform tells another')
  .addOption(new Option('--locale <locale>', 'language of the messages').choices(['ru', 'en']))
  .option('--route <list>', `channels in order of preference: ${CHANNEL_NAMES.join(', ')}`)
  .option('--webhook-url <url>', 'where the webhook channel posts: your bot')
  .option('--bot-api-prefix <prefix>', 'how api_id begins in bookings made by your bot')
  .addOption(source())
  .addOption(verify())
  .addOption(sweep())
  .addOption(poll())
  .addOption(userToken())
  .option('--remove-user-token', 'go back to the user token for all companies')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companySet)));
company
  .command('list')
  .description('the companies there are')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyList)));
company
  .command('rotate-key <id>')
  .description('a new webhook URL; the old one works for another 24 hours')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyRotateKey)));
company
  .command('rotate-secret <id>')
  .description('a new signing secret; the old one holds for another 24 hours')
  .addOption(
    new Option('--purpose <purpose>', 'whose signature').choices(['inbound', 'outbound']).default('outbound'),
  )
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyRotateSecret)));
const operator = company
  .command('operator')
  .description('be a salon’s SMS operator: the platform’s own texts leave by our routes');
operator
  .command('on <id>')
  .description('print the address to give to the platform for the salon’s texts')
  .addOption(json())
  .action(run(() => import('./commands/operator.ts').then(module => module.operatorOn)));
operator
  .command('off <id>')
  .description('take no texts any more; those that were taken still leave')
  .addOption(json())
  .action(run(() => import('./commands/operator.ts').then(module => module.operatorOff)));
operator
  .command('rotate-key <id>')
  .description('a new address; the old one works for another 24 hours')
  .addOption(json())
  .action(run(() => import('./commands/operator.ts').then(module => module.operatorRotateKey)));
company
  .command('invite <id>')
  .description('the link and QR code by which its clients open the bot')
  .addOption(invitedTo())
  .option('--svg <file>', 'write the QR code into this file, to be printed')
  .addOption(json())
  .action(run(() => import('./commands/invite.ts').then(module => module.companyInvite)));
company
  .command('remove <id>')
  .description('stop a company: its URL dies, nobody is notified, the data stays')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyRemove)));

company
  .command('resume <id>')
  .description('work again for a salon that the platform had stopped (freeze, uninstall)')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.companyResume)));

const client = program.command('client').description('a client: what is known, allowed, refused and told');
client
  .command('show <company> <client>')
  .description('by phone or id: addresses, consents with their proof, the latest messages')
  .addOption(json())
  .action(run(() => import('./commands/client.ts').then(module => module.clientShow)));
client
  .command('opt-out <company> <client>')
  .description('keep that a client refuses messages')
  .addOption(consentChannel())
  .addOption(consentCategory('both'))
  .addOption(consentReason())
  .addOption(json())
  .action(run(() => import('./commands/client.ts').then(module => module.clientOptOut)));
client
  .command('opt-in <company> <client>')
  .description('keep that a client allows messages again')
  .addOption(consentChannel())
  .addOption(consentCategory('service'))
  .addOption(consentReason())
  .addOption(json())
  .action(run(() => import('./commands/client.ts').then(module => module.clientOptIn)));
client
  .command('invite <company> <client>')
  .description('a link and QR code by which this client alone opens the bot, good for a week')
  .addOption(invitedTo())
  .option('--svg <file>', 'write the QR code into this file')
  .addOption(json())
  .action(run(() => import('./commands/invite.ts').then(module => module.clientInvite)));

const templates = program.command('templates').description('the texts that people read');
const templateLocale = () => new Option('--locale <locale>', 'language of the text').choices(['ru', 'en']);
templates
  .command('list')
  .description('the texts there are, and which a company has of its own')
  .option('--company <id>', 'as this company has them')
  .addOption(templateLocale())
  .addOption(json())
  .action(run(() => import('./commands/templates.ts').then(module => module.templatesList)));
templates
  .command('show <text>')
  .description('the template of a text, e.g. booked')
  .option('--company <id>', 'as this company has it')
  .addOption(templateLocale())
  .addOption(json())
  .action(run(() => import('./commands/templates.ts').then(module => module.templatesShow)));
templates
  .command('set <company> <text> <file>')
  .description('a text of the company’s own, once it has rendered every sample; - reads standard input')
  .addOption(templateLocale())
  .addOption(json())
  .action(run(() => import('./commands/templates.ts').then(module => module.templatesSet)));
templates
  .command('reset <company> <text>')
  .description('back to the text that comes with us')
  .addOption(templateLocale())
  .addOption(json())
  .action(run(() => import('./commands/templates.ts').then(module => module.templatesReset)));
templates
  .command('test')
  .description('render every text with samples')
  .option('--company <id>', 'as this company has them')
  .addOption(templateLocale())
  .addOption(json())
  .action(run(() => import('./commands/templates.ts').then(module => module.templatesTest)));

const policy = program.command('policy').description('what a salon wants said, to whom and when');
policy
  .command('show <company>')
  .description('the policy as the salon wrote it, and in full')
  .option('--of-version <n>', 'as it was then; `policy versions` lists them', whole)
  .addOption(json())
  .action(run(() => import('./commands/policy.ts').then(module => module.policyShow)));
policy
  .command('versions <company>')
  .description('versions, newest first: when each was written, and by what')
  .option('--limit <number>', 'at most this many', count, 20)
  .option('--cursor <version>', 'the page after this version', whole)
  .addOption(json())
  .action(run(() => import('./commands/policy.ts').then(module => module.policyVersions)));
policy
  .command('set <company> [file]')
  .description('a JSON document in the place of the policy; - reads standard input; {} is the default')
  .option('--from-version <n>', 'in place of a file: what that version said, written once more', whole)
  .option('--if-version <n>', 'only if this is the version there is; else it was changed in between', whole)
  .addOption(json())
  .action(run(() => import('./commands/policy.ts').then(module => module.policySet)));
policy
  .command('validate <file>')
  .description('say what is wrong with a document; - reads standard input')
  .addOption(json())
  .action(run(() => import('./commands/policy.ts').then(module => module.policyValidate)));
policy
  .command('preview <company>')
  .description('what would be said of a booking, to whom and when, and why not; nothing is sent')
  .option('--record <id>', 'of this booking', whole)
  .option('--starts <time>', 'of a booking for then, by the salon’s clock, e.g. 2026-12-01T14:30')
  .addOption(new Option('--lasts <time>', 'which lasts so long').argParser(duration).default(3_600_000, '1h'))
  .option('--origin <origin>', 'made there: bot, widget, app, aggregator, admin, unknown', 'admin')
  .option('--staff <id>', 'with this master, by the platform’s id', whole)
  .option('--made <time>', 'at that moment, e.g. 2026-11-28T10:00:00Z; now unless given')
  .option('--sms-to <phone>', 'ask the SMS provider what each text would cost to this number')
  .option('--file <file>', 'by this policy instead of the company’s own; - reads standard input')
  .addOption(json())
  .action(run(() => import('./commands/policy-preview.ts').then(module => module.policyPreview)));

const team = program.command('team').description('who of a salon is told of its bookings');
const role = () =>
  new Option('--role <role>', 'a master hears of their own visits').choices(['staff', 'administrator']);
team
  .command('list <company>')
  .description('who is told, on which channel and since when')
  .addOption(json())
  .action(run(() => import('./commands/team.ts').then(module => module.teamList)));
team
  .command('add <company>')
  .description('tell somebody at this address from now on; again: at another address')
  .addOption(role().makeOptionMandatory())
  .option('--staff <id>', 'of a master: their id at the platform', whole)
  .option('--name <name>', 'for `team list`')
  .requiredOption('--channel <channel>', 'telegram, max, whatsapp, sms, vk, email, webhook or console')
  .option('--address <address>', 'a chat’s number, a phone, an e-mail; none for webhook and console')
  .addOption(json())
  .action(run(() => import('./commands/team.ts').then(module => module.teamAdd)));
team
  .command('invite <company>')
  .description('a link of their own to the bot, which works once, for a week')
  .addOption(role().makeOptionMandatory())
  .option('--staff <id>', 'of a master: their id at the platform', whole)
  .option('--name <name>', 'for `team list`')
  .option('--channel <channel>', 'telegram, max or vk; the first that is set up unless given')
  .addOption(json())
  .action(run(() => import('./commands/team.ts').then(module => module.teamInvite)));
team
  .command('else <company> <member> [places...]')
  .description('where they are told when that fails, in order: `sms:+79160000000`; none: nowhere else')
  .addOption(json())
  .action(run(() => import('./commands/team.ts').then(module => module.teamElse)));
team
  .command('remove <company> <member>')
  .description('tell somebody nothing any more')
  .addOption(json())
  .action(run(() => import('./commands/team.ts').then(module => module.teamRemove)));

const hooks = program.command('hooks').description('our URL among the salon’s webhooks, by the API');
hooks
  .command('show <company>')
  .description('the webhook settings of the salon, and which URL is ours')
  .addOption(json())
  .action(run(() => import('./commands/hooks.ts').then(module => module.hooksShow)));
hooks
  .command('install <company>')
  .description('register our URL: read, merge, write, read back, verify; what is not ours stays as it is')
  .option('--url <url>', 'this webhook URL; else the one that is there, else a new one')
  .option('--resources <list>', 'events to receive (default: record,client,staff,service,company)')
  .addOption(
    new Option('--self-sending <state>', 'events of changes that we make ourselves').choices(['on', 'off']),
  )
  .option('--replace', 'take older URLs of ours out')
  .option('--activate', 'switch webhooks on although other programs’ URLs begin to receive too')
  .option('--dry-run', 'show what would change, write nothing')
  .option('--wait <time>', 'then wait so long for the first real event, e.g. 5m', duration, 0)
  .addOption(json())
  .action(run(() => import('./commands/hooks.ts').then(module => module.hooksInstall)));
hooks
  .command('remove <company>')
  .description('take our URL out, and nothing else')
  .option('--dry-run', 'show what would change, write nothing')
  .addOption(json())
  .action(run(() => import('./commands/hooks.ts').then(module => module.hooksRemove)));

program
  .command('address <company> <client> <channel> <address>')
  .description('where a client can be reached on a channel, e.g. `address 1 42 telegram 123456789`')
  .addOption(json())
  .action(run(() => import('./commands/company.ts').then(module => module.addressSet)));

program
  .command('send-test [url]')
  .description(
    'with a webhook URL: post a test event and see it processed; with --company: send a test message',
  )
  .option('--company <id>', 'send a test message by this company', whole)
  .addOption(
    new Option('--channel <channel>', 'through this channel instead of the first of its route').choices(
      CHANNEL_NAMES,
    ),
  )
  .option('--to <address>', 'to this address (chat id, phone, e-mail)')
  .addOption(json())
  .action(run(() => import('./commands/send-test.ts').then(module => module.sendTest)));

const channels = program
  .command('channels')
  .description('which channels are on, what each can, and where its provider is to send receipts');
listing(channels)
  .description('the channels, by default')
  .addOption(json())
  .action(run(() => import('./commands/channels.ts').then(module => module.listChannels)));
channels
  .command('rotate-secret <channel>')
  .description('a new address for its provider to call; the old one works for another 24 hours')
  .addOption(json())
  .action(run(() => import('./commands/channels.ts').then(module => module.rotateSecret)));

const events = program.command('events').description('what came in');
events
  .command('list')
  .description('events, newest first')
  .option('--company <id>', 'of this company', whole)
  .option('--record <id>', 'of this booking', whole)
  .addOption(
    new Option('--state <state>', 'in this state: docs/guarantees.md, “States”').choices(EVENT_STATES),
  )
  .option('--limit <number>', 'at most this many', count, 20)
  .option('--cursor <id>', 'the page after this event')
  .addOption(json())
  .action(run(() => import('./commands/look.ts').then(module => module.eventsList)));
events
  .command('show <id>')
  .description('one event with its payload')
  .addOption(json())
  .action(run(() => import('./commands/look.ts').then(module => module.eventsShow)));
events
  .command('replay [id]')
  .description('put an event, or all of a state, back to be processed; its effect still happens once')
  .addOption(new Option('--state <state>', 'all in this state').choices(['dead', 'done']))
  .option('--company <id>', 'of them those of this company', whole)
  .option('--resource <name>', 'of them those of this resource, e.g. record')
  .option('--dry-run', 'say how many it would be')
  .addOption(json())
  .action(run(() => import('./commands/orders.ts').then(module => module.eventsReplay)));

const answers = program
  .command('answers')
  .description('what people send back and what could not be understood');
answers
  .command('aside')
  .description('what could not be understood, newest first, and why; not what was said')
  .option('--limit <number>', 'at most this many', count, 20)
  .addOption(json())
  .action(run(() => import('./commands/answers.ts').then(module => module.answersAside)));
answers
  .command('retry [id]')
  .description('put it back to be heard again; what it asks for still happens once')
  .option('--all', 'all that there is')
  .addOption(json())
  .action(run(() => import('./commands/answers.ts').then(module => module.answersRetry)));

const messages = program.command('messages').description('what went out');
messages
  .command('list')
  .description('messages, newest first')
  .option('--company <id>', 'of this company', whole)
  .option('--record <id>', 'about this booking', whole)
  .addOption(
    new Option('--state <state>', 'in this state: docs/guarantees.md, “States”').choices(MESSAGE_STATES),
  )
  .option('--limit <number>', 'at most this many', count, 20)
  .option('--cursor <id>', 'the page after this message')
  .addOption(json())
  .action(run(() => import('./commands/look.ts').then(module => module.messagesList)));
messages
  .command('show <id>')
  .description('one message and every attempt')
  .addOption(json())
  .action(run(() => import('./commands/look.ts').then(module => module.messagesShow)));
messages
  .command('resend [id]')
  .description('send a message, or all of a state, that reached nobody, if it is still true and wanted')
  .addOption(new Option('--state <state>', 'all in this state').choices(['dead', 'failed']))
  .option('--company <id>', 'of them those of this company', whole)
  .addOption(new Option('--channel <channel>', 'of them those it could not take').choices(CHANNEL_NAMES))
  .addOption(
    new Option('--since <time>', 'of them those that ended so long ago at most, e.g. 90m')
      .argParser(duration)
      .default(86_400_000, '24h'),
  )
  .option('--dry-run', 'say how many it would be')
  .addOption(json())
  .action(run(() => import('./commands/orders.ts').then(module => module.messagesResend)));
messages
  .command('cancel <id>')
  .description('do not send a message that is due; what it says counts as said')
  .addOption(json())
  .action(run(() => import('./commands/orders.ts').then(module => module.messagesCancel)));

const drift = program.command('drift').description('what the platform sends that we do not know');
listing(drift)
  .description('each place with its count and a redacted sample, latest first')
  .addOption(json())
  .action(run(() => import('./commands/drift.ts').then(module => module.driftList)));
drift
  .command('clear')
  .description('forget the list, e.g. after an update; what still occurs comes back')
  .addOption(json())
  .action(run(() => import('./commands/drift.ts').then(module => module.driftClear)));
program
  .command('reconcile <company>')
  .description('compare a company with the platform now: what its webhooks left out goes into the inbox')
  .option('--full', 'the coming 14 days whole too, not only what was changed')
  .addOption(json())
  .action(run(() => import('./commands/reconcile.ts').then(module => module.reconcileCommand)));

program
  .command('stats')
  .description('counts by state')
  .addOption(json())
  .action(run(() => import('./commands/look.ts').then(module => module.stats)));
program
  .command('migrate')
  .description('bring the database up to this version')
  .option('--insist', 'also where older processes do not survive it: those that run stop by themselves')
  .addOption(json())
  .action(run(() => import('./commands/serve.ts').then(module => module.migrateCommand)));
program
  .command('rotate-master-key')
  .description('seal stored secrets under OTKLIK_KEY that were sealed under OTKLIK_KEY_OLD')
  .addOption(json())
  .action(run(() => import('./commands/rotate-master-key.ts').then(module => module.rotateMasterKeyCommand)));
program
  .command('backup <directory>')
  .description('everything as of one moment, sealed, into a new directory; the service goes on')
  .option('--key-file <file>', 'seal with the passphrase in this file instead of OTKLIK_KEY')
  .addOption(json())
  .action(run(() => import('./commands/backup.ts').then(module => module.backup)));
program
  .command('restore <directory>')
  .description('a backup into an empty database, checked whole before anything is written')
  .option('--key-file <file>', 'the passphrase it was sealed with')
  .option('--resume', 'the service was stopped before the backup and never ran since: send what was due')
  .addOption(
    new Option(
      '--check',
      'look through it and say what is in it: needs no database, restores nothing',
    ).conflicts('resume'),
  )
  .addOption(json())
  .action(run(() => import('./commands/backup.ts').then(module => module.restore)));
program
  .command('erase-person <company>')
  .description('remove a person’s data everywhere; what was sent and when is kept without them')
  .option('--client <id>', 'the client’s id at the platform')
  .option('--phone <number>', 'everyone known by this number')
  .option('--dry-run', 'say what would be removed')
  .option('--readmit', 'the other way: let a client who was erased be known again')
  .addOption(json())
  .action(run(() => import('./commands/erase.ts').then(module => module.erasePersonCommand)));
const alerts = program.command('alerts').description('what is wrong now, and who is told');
listing(alerts)
  .description('alerts that are open, the oldest first')
  .addOption(json())
  .action(run(() => import('./commands/alerts.ts').then(module => module.alertsList)));
alerts
  .command('mute')
  .description('keep one kind of alert quiet for a time, of one subject or of all; that it is over is told')
  .addArgument(mutable())
  .argument('[subject]', 'what it is of, as the list has it: a company’s id, a channel, a cause')
  .addOption(new Option('--for <time>', 'for how long, e.g. 14d').argParser(duration).makeOptionMandatory())
  .addOption(json())
  .action(run(() => import('./commands/alerts.ts').then(module => module.alertsMute)));
alerts
  .command('unmute')
  .description('let it be told again, at once if it is still wrong')
  .addArgument(mutable())
  .argument('[subject]', 'the same as of mute')
  .addOption(json())
  .action(run(() => import('./commands/alerts.ts').then(module => module.alertsUnmute)));
alerts
  .command('test')
  .description('send a test along every road to the operator, and say what happened')
  .addOption(json())
  .action(run(() => import('./commands/alerts.ts').then(module => module.alertsTest)));
program
  .command('doctor')
  .description('check database, schema, ports, clock, keys and channels, and say what to do')
  .option(
    '--public-url [url]',
    'the way from outside too: name, TLS, proxy, key, an event; PUBLIC_URL unless given',
  )
  .option('--company <id>', 'the company that the event is sent for; the first unless given', whole)
  .addOption(json())
  .action(run(() => import('./commands/doctor.ts').then(module => module.doctor)));

// Commander's own looks at the first word alone: `help company add` was the help of `company`.
program
  .command('help [command...]')
  .description('display help for command')
  .action((words: string[]) => {
    const named = words.reduce(
      (group, word) => group.commands.find(command => command.name() === word) ?? misspelt(group, word),
      program,
    );
    named.help();
  });

misspeltFirst(program);
surviveOutput();
await program.parseAsync();

/**
 * Asks for required options just before a command runs. Commander asks first of all, and who writes `--titel` is told
 * that `--title` is missing, which they believe to have written.
 */
function misspeltFirst(command: Command): void {
  const required = command.options.filter(option => option.mandatory);
  for (const option of required) {
    option.mandatory = false;
    option.description += ' (required)';
  }
  command.hook('preAction', (_hooked, running) => {
    const missing = required.find(option => running.getOptionValue(option.attributeName()) === undefined);
    if (missing) running.error(`error: required option '${missing.flags}' not specified`);
  });
  command.commands.forEach(misspeltFirst);
}

function withArguments(command: Command): string {
  const words = command.registeredArguments.map(one =>
    one.required ? `<${one.name()}>` : `[${one.name()}]`,
  );
  return [command.name(), ...words].join(' ');
}

/** What a group does when it is alone. A word behind it is then a misspelt command, and no argument of the list. */
function listing(group: Command): Command {
  return group
    .command('list', { isDefault: true })
    .allowExcessArguments()
    .hook('preAction', (_hooked, { args: [word] }) => {
      if (word !== undefined) misspelt(group, word);
    });
}

function misspelt(group: Command, word: string): never {
  const nearest = nearestOf(
    word,
    group.commands.map(command => command.name()),
  );
  const meant = nearest === undefined ? '' : `\n(Did you mean ${nearest}?)`;
  return group.error(`error: unknown command '${word}'${meant}`);
}

function run(load: () => Promise<CommandFunction>): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const [{ runCommand }, command] = await Promise.all([import('./commands/run.ts'), load()]);
    await runCommand(command)(...args);
  };
}

/** `500ms`, `60s`, `5m`, `14d`, `0`: to milliseconds. */
function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (!match) throw new InvalidArgumentError('Write it like 500ms, 60s, 5m, 1h or 14d.');
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] ?? 's'] ?? 1_000;
  return Math.round(Number(match[1]) * unit);
}

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function count(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
}

function rate(text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

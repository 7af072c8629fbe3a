/**
 * Every line that can stand in the log: at which level, of what it is, and what there is to do. docs/logs.md is written
 * from this, and no other line can be logged. A line holds no value: what differs is in the fields.
 */
export const LINES = {
  'event received': { at: ['info'], of: 'an event taken in: `outcome` stored or duplicate' },
  'request refused': {
    at: ['debug', 'warn', 'error'],
    of: 'a request with a company’s key that is refused, by `reason`; debug of strangers; error of a 503. Of `role` web a call of the admin API without its token; debug beyond 20 a minute from one address',
  },
  'changed by the API': {
    at: ['info'],
    of: 'a call of the admin API that changed something: `operation`, company or event; of whom exactly is in `audit_log`',
  },
  'event processed': { at: ['info'], of: 'an event whose `effect` is committed' },
  'batch processed': { at: ['debug'], of: 'so many events, committed together' },
  'event failed, will be retried': {
    at: ['warn'],
    of: 'an event put aside after a failure; the error says which',
  },
  'event is dead: look at it with `events show`, put it back with `events replay`': {
    at: ['error'],
    of: 'an event given up after its last try; the alert `dead_letters` says the same',
  },
  'message attempted': { at: ['info'], of: 'a try of a message: `outcome` sent, retry, rejected, unknown' },
  'message ended unsent': {
    at: ['info'],
    of: 'a message that came to an end before it was sent: superseded, expired, failed, unknown',
  },
  'route ended': { at: ['info'], of: 'a message that a channel took, and whose route goes on no more' },
  'outcome not recorded yet, will try again': {
    at: ['error'],
    of: 'a message that was tried while the database did not answer; it is not sent anew',
  },
  'the rate of a channel could not be noted': {
    at: ['warn'],
    of: 'a provider’s word on our rate, or a bot’s answer, that the database did not take; the provider says it again',
  },
  'receipts could not be looked at': {
    at: ['warn'],
    of: 'a message whose receipts are seen when its next step is due',
  },
  'a company’s own text failed, ours was sent: doctor says whose': {
    at: ['warn'],
    of: 'a text of `templates set` that could not be written out: mend or reset it',
  },
  'company compared with the platform; count is what differed': {
    at: ['debug', 'info'],
    of: 'a sweep of reconciliation; debug where nothing differed',
  },
  'first import begins': { at: ['info'], of: 'a company that is read for the first time' },
  'sweep put off; `stats` says why': {
    at: ['warn'],
    of: 'a sweep that the platform refused or did not answer; it comes again by itself, later each time',
  },
  'a sweep failed here, will be taken up again': {
    at: ['error'],
    of: 'a sweep that failed for a reason of ours; it is taken up again within two minutes',
  },
  'an answer failed here, will be taken up again': {
    at: ['error'],
    of: 'what somebody asked for by an answer failed for a reason of ours; it is taken up again within four minutes',
  },
  'the sweep passed to another process': {
    at: ['warn'],
    of: 'a sweep that was held up for longer than its lease',
  },
  'could not give sweeps back; they pass on when the lease ends': {
    at: ['warn'],
    of: 'a stop while the database did not answer',
  },
  'a doubtful record could not be read again; its client is told what we know': {
    at: ['warn'],
    of: 'a record of which the API gave no second reading; `outcome` says why',
  },
  'webhooks have begun: polled no more, reconciled from now on': {
    at: ['info'],
    of: 'a company of `--source poll` whose first webhook came',
  },
  'all clients are planned for anew': { at: ['info'], of: 'a company whose policy or zone changed' },
  'the format drifts: see `drift list`': {
    at: ['warn'],
    of: 'something in bodies that we do not know, once a day: `kind`, `path`, `count`',
  },
  'drift report not written yet, will try again': {
    at: ['warn'],
    of: 'what drifts is kept in memory while the database does not answer',
  },
  'drift not told yet, will try again': { at: ['warn'], of: 'it is told once the database answers' },
  'what somebody sent could not be understood: it is kept aside, `answers aside` lists it': {
    at: ['error'],
    of: 'words or a press in a bot’s chat: `answers retry` once it is mended',
  },
  'a reply did not arrive': {
    at: ['warn'],
    of: 'what a bot said back, by the provider’s `reason`; it is not repeated',
  },
  'answer acted on': {
    at: ['info'],
    of: 'what a client answered, done at the platform or refused: `outcome`',
  },
  'could not subscribe to what people send': {
    at: ['warn'],
    of: 'a bot that its messenger does not tell; tried again within ten minutes. Is PUBLIC_URL reachable?',
  },
  'could not give the bot back; it passes on when the lease ends': {
    at: ['warn'],
    of: 'a stop while the database did not answer',
  },
  'text taken': { at: ['info'], of: 'a text of the platform’s that the SMS operator is to send' },
  'status of a text told': { at: ['info'], of: 'the platform was told what became of its text: `report`' },
  'status of a text not taken': {
    at: ['warn'],
    of: 'the platform did not take a status, by `reason`; it is told again, or given up: `outcome`',
  },
  'the platform names another host for statuses': {
    at: ['warn'],
    of: 'a text that asks for its status elsewhere, once a host: set YCLIENTS_STATUS_URL if that is right',
  },
  'marketplace activation': { at: ['info'], of: 'a salon that connected through the marketplace: `outcome`' },
  'a salon cannot be connected': {
    at: ['error'],
    of: 'a salon came by the marketplace, and settings are lacking: `reason` names them',
  },
  'a salon could not be connected': {
    at: ['error'],
    of: 'a salon whose connection failed; it is told to try again',
  },
  'the API does not tell about a salon that connected': {
    at: ['warn'],
    of: 'a salon without title and zone as yet; its company event brings them',
  },
  'the zone of a salon is assumed until one of its company events names it': {
    at: ['warn'],
    of: 'a salon whose hours may be wrong until then: `company set <id> --zone`',
  },
  'the salon switched us off': { at: ['info'], of: 'a salon that froze or removed the application' },
  'lifecycle event refused': {
    at: ['warn'],
    of: 'a call of the marketplace’s that is not taken, by `reason`',
  },
  'lifecycle event not kept': {
    at: ['error'],
    of: 'a salon that leaves while the database did not answer; the marketplace is answered 503',
  },
  'alert raised': {
    at: ['error'],
    of: 'what the operator is told: `kind` and `resource`; docs/operations.md',
  },
  'alert resolved': { at: ['info'], of: 'it is over' },
  'alert sent without the outbox': {
    at: ['info'],
    of: 'an alert that left while the database was away: `outcome`',
  },
  'cannot look for trouble in the database': {
    at: ['warn'],
    of: 'a look of the watch that failed: it counts as the database down',
  },
  'the watch passes on when its lease ends': { at: ['warn'], of: 'a stop while the database did not answer' },
  'rows pruned': { at: ['info'], of: 'what upkeep forgot of one table' },
  'refusals not counted': {
    at: ['warn'],
    of: 'a stop while the database did not answer: `stats` lacks the last seconds',
  },
  'could not give the shards back; they pass on when the lease ends': {
    at: ['warn'],
    of: 'a stop while the database did not answer',
  },
  'loop failed, will go on': {
    at: ['error'],
    of: 'a run of a background service; again after a pause, longer each time',
  },
  'request failed': {
    at: ['error'],
    of: 'a call of the admin API that failed for a reason of ours: the error is one to report',
  },
  'the database does not answer': { at: ['error'], of: 'a call of the admin API that was answered 503' },
  'unknown setting': {
    at: ['warn'],
    of: 'a setting at the start that there is none of: `reason` says which may be meant',
  },
  'database migrated': { at: ['info'], of: 'so many migrations at the start' },
  'embedded PostgreSQL': { at: ['info'], of: 'what becomes of it: `reason`' },
  'ready for webhooks': { at: ['info'], of: 'the receiver’s port' },
  ready: { at: ['info'], of: 'the admin port, and the roles of this process' },
  'stopping: finishing what is under way': { at: ['info'], of: 'a stop that was asked for' },
  stopped: { at: ['info'], of: 'its end' },
  'the stop took too long and is cut off; leases will take care of the rest': {
    at: ['error'],
    of: 'a stop that something held up for 25 s',
  },
  'systemd is not told of us: `systemd-notify` failed': {
    at: ['error'],
    of: 'a unit whose watchdog will end us: is systemd-notify there?',
  },
} as const satisfies Readonly<Record<string, { readonly at: readonly Level[]; readonly of: string }>>;

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Those that may be logged at a level. */
export type Line<L extends Level> = {
  [text in keyof typeof LINES]: L extends (typeof LINES)[text]['at'][number] ? text : never;
}[keyof typeof LINES];

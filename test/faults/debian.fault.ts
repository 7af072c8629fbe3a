/**
 * docs/deploy.md to the letter: on an empty Debian 12 that systemd runs, each command of the page in its order. What is
 * exchanged is what this machine cannot have: the address of the repository, and certificates of an authority.
 */
import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { record } from '../blackbox/salon.ts';
import { createAuthority } from '../support/authority.ts';
import { type Debian, startDebian } from '../support/debian.ts';
import { removeDirectory } from '../support/remove.ts';
import { packTree } from '../support/tree.ts';
import { until } from '../support/until.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAME = 'hooks.example.com';
const COMPANY = 4564;
/** The unit's is a minute. */
const WATCHDOG_SECONDS = 15;
const RESTART_MS = 180_000;
const PHONE = '+79160000077';

let directory: string;
let debian: Debian;
let page: string;
/** What the platform would be given. */
let url: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'otklik-debian-'));
  page = await readFile(join(ROOT, 'docs/deploy.md'), 'utf8');
  debian = await startDebian(directory);
  await layOut(debian.root);
});
after(async () => {
  await debian?.close();
  await removeDirectory(directory);
});

test('an empty server is live by the commands of the page: the first event is seen and processed', async () => {
  await follow('1. Programs');
  await follow('2. Otklik', {
    from: /^git clone \S+ (\S+).*$/m,
    to: 'mkdir $1 && tar -xf /root/otklik.tar -C $1',
  });
  const journal = await debian.run('journalctl --unit otklik --output cat');
  assert.match(journal, /"msg":"ready"/);
  const token = (await debian.run('cat /var/lib/otklik/admin-token')).trim();
  assert.ok(token.length >= 16 && !journal.includes(token), 'the token is in its file, not in the journal');
  await debian.run("echo 'NODE_EXTRA_CA_CERTS=/etc/ssl/authority.pem' >> /etc/otklik/otklik.env");
  await follow('3. TLS and nginx', { from: /^certbot .*$/m, to: 'true' });
  const said = await follow('4. The first salon');
  assert.match(said, /✓ event +unsigned, as the platform does it: answered in/);
  assert.match(said, /✓ processing +the event was processed/);
  url = /https:\S+/.exec(said)?.[0] ?? '';
  assert.equal(await send('create', 1), '200');
  assert.match(await debian.run('systemctl is-active otklik nginx nftables'), /^(active\n){3}$/);
  assert.equal((await debian.run('systemctl --failed --plain --no-legend')).trim(), '');
  assert.match(await debian.run('nginx -T'), /^ *#server 127\.0\.0\.1:8082 /m, 'one process, one receiver');
});

test('the page’s firewall lets in what it says, and leaves the rules of others alone', async () => {
  await debian.run('nft add table ip others; systemctl reload nftables; systemctl reload nftables');
  assert.equal(await debian.run('nft list tables | sort'), 'table inet otklik\ntable ip others\n');
  const rules = await debian.run('nft list table inet otklik');
  assert.equal(rules.match(/policy drop/g)?.length, 1);
  assert.equal(rules.match(/tcp dport { 22, 80, 443 } accept/g)?.length, 1);
});

test('what an operator types, a key or a phone, comes into no log of the server', async () => {
  await debian.run(`otklik send-test ${url}`);
  await debian.run(`otklik client opt-out ${COMPANY} ${PHONE} --reason asked || true`);
  await debian.run(`otklik erase-person ${COMPANY} --phone ${PHONE} --dry-run || true`);
  const logs = await debian.run('journalctl --sync; journalctl --output export --all; cat /var/log/nginx/*');
  assert.match(logs, /Otklik command/);
  for (const secret of [PHONE, PHONE.slice(2), new URL(url).pathname.split('/').at(-1) ?? '']) {
    assert.ok(!logs.includes(secret), `${secret} is in a log`);
  }
});

test('systemd starts a service again that is killed or hangs, with what it has kept, and ends it in order', async () => {
  const pid = async () => {
    const said = await debian.run('systemctl show --property MainPID --value otklik');
    // 0 where it does not run, and `kill 0` ends whoever asks.
    return /^[1-9]\d*$/.test(said.trim()) ? said.trim() : '';
  };
  const restarted = async (old: string) => {
    await until(async () => (await pid()) !== old && (await isReady()), {
      what: 'systemd has started it again',
      timeoutMs: RESTART_MS,
    });
  };
  const first = await pid();
  assert.ok(first !== '', 'it runs');
  await debian.run(`kill -KILL ${first}`);
  await restarted(first);
  assert.match(await debian.run('otklik company list'), /Studio North/);

  const watchdog = await debian.run('systemctl show --property WatchdogUSec --value otklik');
  assert.equal(watchdog.trim(), '1min', 'the unit is watched');
  await debian.run(
    `mkdir -p /run/systemd/system/otklik.service.d
     printf '[Service]\\nWatchdogSec=%ss\\nTimeoutAbortSec=3s\\n' ${WATCHDOG_SECONDS} > /run/systemd/system/otklik.service.d/test.conf
     systemctl daemon-reload; systemctl restart otklik`,
  );
  const second = await pid();
  assert.ok(second !== '', 'it runs');
  await debian.run(`kill -STOP ${second}`);
  await restarted(second);
  assert.match(await debian.run('journalctl --unit otklik --output cat'), /[Ww]atchdog timeout/);
  assert.equal(await send('update', 1), '200');

  await debian.run(
    'rm -r /run/systemd/system/otklik.service.d; systemctl daemon-reload; systemctl stop otklik',
  );
  assert.equal(
    (await debian.run('systemctl show --property Result --value otklik')).trim(),
    'success',
    'it ended by itself in time',
  );
  assert.match(await debian.run('tail -n 1 /var/lib/otklik/postgres.log'), /database system is shut down/);
  await debian.run('systemctl start otklik');
});

test('the timer’s backup is made by the user of the service, and can be read', async () => {
  await debian.run('systemctl enable --now otklik-backup.timer; systemctl start otklik-backup.service');
  const made = await debian.run('ls -d /var/backups/otklik/*');
  assert.match(made, /^\/var\/backups\/otklik\/\S+\n$/);
  assert.match(await debian.run(`cat ${made.trim()}/manifest.json`), /"webhook_events"/);
});

test('Caddy takes nginx’s place by the page, and gives it back', async () => {
  await follow("Caddy in nginx's place", {
    from: /^sed (?=')/m,
    to: "sed -e '/^hooks.* {$/a tls /etc/ssl/salon.pem /etc/ssl/salon.key' -e ",
  });
  assert.match(await debian.run('systemctl is-active nginx caddy || true'), /^inactive\nactive\n$/);
  assert.equal(await send('update', 1), '200');
  await debian.run('systemctl disable --now caddy; systemctl enable --now nginx');
  assert.equal(await send('update', 1), '200');
});

test('what a backup holds is there again by the page, and nothing of what came after it', async () => {
  await restores(blocksOf('Restore')[0]);
});

test('it moves to several processes on a PostgreSQL of its own by the page, and their restart is not noticed', async () => {
  await debian.run(
    `systemctl stop otklik; install -d -o otklik -g otklik -m 0700 /var/backups/otklik
     otklik backup /var/backups/otklik/move`,
  );
  const blocks = [...blocksOf('Several processes')];
  const last = blocks.pop() ?? '';
  for (const block of blocks) await debian.fetch(block);
  await debian.run(
    `key=$(cat /var/lib/otklik/otklik.key)
     cat >> /etc/otklik/otklik.env <<END
DATABASE_URL=postgresql://otklik:a%20long%20random%20one@127.0.0.1:5432/otklik
OTKLIK_KEY=$key
ADMIN_PORT=8085
END
     otklik restore /var/backups/otklik/move --resume`,
  );
  await debian.run(last);
  assert.match(await debian.run('otklik doctor --public-url'), /✓ processing +the event was processed/);
  assert.match(await debian.run('otklik company list'), /Studio North/);

  const restart = /^for role in .*$/m.exec(await readFile(join(ROOT, 'docs/operations.md'), 'utf8'))?.[0];
  assert.ok(restart !== undefined, 'operations.md says how they are restarted');
  let over = false;
  const restarting = debian.run(restart).finally(() => {
    over = true;
  });
  const answers: string[] = [];
  for (let number = 2; !over; number += 1) answers.push(await send('create', number));
  await restarting;
  assert.deepEqual([...new Set(answers)], ['200']);
  assert.ok(answers.length > 20, `${answers.length} events while they were restarted`);
});

test('there a backup is restored by the page too', async () => {
  await restores(blocksOf('Restore')[1]);
});

/** Backs up to the place that the block names, lets something come in, and does what the block says. */
async function restores(block = ''): Promise<void> {
  const backup = /^backup=(\S+)$/m.exec(block)?.[1];
  assert.ok(backup !== undefined, 'the block names a backup');
  const known = async () => ({
    companies: await debian.run('otklik company list'),
    events: await debian.run(
      `otklik events list --company ${COMPANY} --limit 100 --json | grep -o '"id":"[^"]*"'`,
    ),
  });
  await debian.run(`otklik backup ${backup}`);
  const before = await known();
  assert.equal(await send('create', 900), '200');
  assert.notDeepEqual(await known(), before);
  await debian.run(block);
  assert.deepEqual(await known(), before);
  assert.equal(await send('create', 901), '200', 'the URL that the platform has is good');
}

/** Does what the section says, one block after another; where `from` stands, `to` is done in its place. */
async function follow(section: string, exchange?: { from: RegExp; to: string }): Promise<string> {
  let said = '';
  for (const block of blocksOf(section)) {
    const typed = exchange ? block.replace(exchange.from, exchange.to) : block;
    // One shell types it all, and stays where step 2 has gone.
    const script = `cd /opt/otklik 2>/dev/null || true\n${typed}`;
    said += await (/^apt-get|npm ci/m.test(script) ? debian.fetch : debian.run)(script);
  }
  return said;
}

function blocksOf(section: string): readonly string[] {
  const text = page.split(/^## /m).find(part => part.startsWith(`${section}\n`));
  assert.ok(text !== undefined, `docs/deploy.md has no section “${section}”`);
  const blocks = [...text.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, block]) => block ?? '');
  assert.ok(blocks.length > 0, `“${section}” says nothing to type`);
  return blocks;
}

/** What lies on the server before the page begins: a release, the name, and what an authority would issue. */
async function layOut(root: string): Promise<void> {
  await packTree(join(root, 'root/otklik.tar'));
  await writeFile(join(root, 'etc/hosts'), `127.0.0.1 localhost salon ${NAME}\n`);
  const authority = await createAuthority(directory);
  const { certFile, keyFile } = await authority.issue(NAME);
  const live = join(root, 'etc/letsencrypt/live', NAME);
  await mkdir(live, { recursive: true });
  await copyFile(certFile, join(live, 'fullchain.pem'));
  await copyFile(keyFile, join(live, 'privkey.pem'));
  // Caddy may not read what only root may.
  await copyFile(certFile, join(root, 'etc/ssl/salon.pem'));
  await copyFile(keyFile, join(root, 'etc/ssl/salon.key'));
  await chmod(join(root, 'etc/ssl/salon.key'), 0o644);
  await copyFile(authority.file, join(root, 'etc/ssl/authority.pem'));
}

/** Posts a booking as the platform would, by nginx and TLS; answers the status. */
async function send(status: 'create' | 'update', number: number): Promise<string> {
  const body = JSON.stringify(record(COMPANY, number, status));
  return debian.run(
    `curl --silent --output /dev/null --write-out '%{http_code}' --cacert /etc/ssl/authority.pem \\
       --header 'content-type: application/json' --data-binary @- '${url}' <<'END'\n${body}\nEND`,
  );
}

async function isReady(): Promise<boolean> {
  const said = await debian.run('systemctl is-active otklik || true');
  return said.trim() === 'active';
}

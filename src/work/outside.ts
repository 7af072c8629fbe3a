/** What is looked at outside of the database: the certificate the world sees, and the disk. */
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { connect } from 'node:tls';
import type { EpochMs } from '../domain/time.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
const DAY_MS = 86_400_000;

/**
 * Days until the certificate that is shown at this URL expires, below 0 when it has; null when none was shown. Whether
 * it is trusted is not looked at: `doctor` does that.
 */
export async function readCertificateDays(url: string, now: EpochMs): Promise<number | null> {
  const { protocol, hostname, port } = new URL(url);
  if (protocol !== 'https:') return null;
  const host = hostname.replace(/^\[|\]$/g, '');
  const { promise, resolve } = Promise.withResolvers<number | null>();
  // An address is no server name: RFC 6066, 3.
  const servername = /^[\d.]+$|:/.test(host) ? undefined : host;
  const socket = connect({
    ...{ host, port: Number(port) || 443, rejectUnauthorized: false },
    ...(servername === undefined ? {} : { servername }),
  });
  socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => resolve(null));
  socket.once('error', () => resolve(null));
  socket.once('secureConnect', () => {
    const expiresAt = Date.parse(socket.getPeerCertificate().valid_to);
    resolve(Number.isNaN(expiresAt) ? null : (expiresAt - now) / DAY_MS);
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/**
 * Free space for us on the disk of this directory, or of the nearest one above it where it is not there, as in a
 * container with a database elsewhere; in percent. Null when the disk does not tell.
 */
export async function readFreePercent(directory: string): Promise<number | null> {
  const path = resolve(directory);
  try {
    const { bavail, blocks } = await statfs(path);
    return blocks === 0 ? null : (100 * bavail) / blocks;
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && /^(ENOENT|ENOTDIR)$/.test(String(error.code));
    return absent && path !== dirname(path) ? readFreePercent(dirname(path)) : null;
  }
}

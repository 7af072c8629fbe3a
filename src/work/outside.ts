/** What is looked at outside of the database: the certificate the world sees, and the disk. */
import { statfs } from 'node:fs/promises';
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

/** Free space for us on the disk of this directory, in percent; null when it is not there. */
export async function readFreePercent(directory: string): Promise<number | null> {
  try {
    const { bavail, blocks } = await statfs(directory);
    return blocks === 0 ? null : (100 * bavail) / blocks;
  } catch {
    return null;
  }
}

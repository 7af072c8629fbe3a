/** A certificate authority of a test's own, made by openssl, and certificates of it that a server can use. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type Certificate = { certFile: string; keyFile: string };
export type Authority = {
  /** Its own certificate, as PEM and as a file. */
  pem: string;
  file: string;
  /** A certificate for `name` that is good from now until `days` later. Issued anew it lies in the same files. */
  issue(name: string, options?: { days?: number }): Promise<Certificate>;
};

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export async function createAuthority(directory: string): Promise<Authority> {
  const file = join(directory, 'authority.pem');
  const keyFile = join(directory, 'authority.key');
  const subject = ['-subj', '/CN=A test authority', '-days', '365'];
  await run('openssl', ['req', '-x509', ...EC_KEY, '-keyout', keyFile, '-out', file, ...subject]);
  return {
    pem: await readFile(file, 'utf8'),
    file,
    async issue(name, { days = 90 } = {}) {
      const certificate = {
        certFile: join(directory, `${name}.pem`),
        keyFile: join(directory, `${name}.key`),
      };
      const request = join(directory, `${name}.csr`);
      const extensions = join(directory, `${name}.ext`);
      await writeFile(extensions, `subjectAltName=DNS:${name}\nextendedKeyUsage=serverAuth\n`);
      await run('openssl', [
        ...['req', ...EC_KEY, '-keyout', certificate.keyFile, '-out', request, '-subj', `/CN=${name}`],
      ]);
      await run('openssl', [
        ...['x509', '-req', '-in', request, '-CA', file, '-CAkey', keyFile, '-CAcreateserial'],
        ...['-days', String(days), '-extfile', extensions, '-out', certificate.certFile],
      ]);
      return certificate;
    },
  };
}

/**
 * Sealing a stream: AES-256-GCM in chunks of 64 KiB, each under a nonce that holds its number and whether it is the
 * last. So a changed byte, a chunk that is missing, moved or from another file, and an end cut off or added are all
 * refused, and nothing is handed on that was not authenticated. This is the STREAM construction of Hoang, Reyhanitabar,
 * Rogaway and Vizár (2015), as the file format age uses it.
 *
 * A key seals one stream only: the nonces begin at zero.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { Transform } from 'node:stream';

const CHUNK_BYTES = 65_536;
const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;

/** Plain bytes in, sealed chunks out. An empty stream is one empty chunk, so that its end is authenticated too. */
export function sealing(key: Buffer): Transform {
  return chunked(CHUNK_BYTES, (chunk, number, last) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce(number, last));
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  });
}

/** Sealed chunks in, plain bytes out. Fails with `DamagedError` on the first chunk that is not what was sealed. */
export function opening(key: Buffer): Transform {
  return chunked(SEALED_CHUNK_BYTES, (chunk, number, last) => {
    if (chunk.length < TAG_BYTES) throw new DamagedError();
    const decipher = createDecipheriv('aes-256-gcm', key, nonce(number, last));
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    const plain = decipher.update(chunk.subarray(0, -TAG_BYTES));
    try {
      return Buffer.concat([plain, decipher.final()]);
    } catch {
      throw new DamagedError();
    }
  });
}

/** The bytes are not those that were sealed. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError';
}

function nonce(number: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeBigUInt64BE(BigInt(number), 3);
  bytes[11] = last ? 1 : 0;
  return bytes;
}

/** Cuts a stream into chunks of one size; only the last may be shorter. */
function chunked(size: number, work: (chunk: Buffer, number: number, last: boolean) => Buffer): Transform {
  let parts: Buffer[] = [];
  let held = 0;
  let number = 0;
  return new Transform({
    transform(input: Buffer, _encoding, done) {
      parts.push(input);
      held += input.length;
      // A whole chunk is held back until something follows it: it may be the last.
      if (held <= size) return done();
      try {
        const all = Buffer.concat(parts);
        let offset = 0;
        for (; all.length - offset > size; offset += size) {
          this.push(work(all.subarray(offset, offset + size), number++, false));
        }
        parts = [all.subarray(offset)];
        held = all.length - offset;
        done();
      } catch (error) {
        done(asError(error));
      }
    },
    flush(done) {
      try {
        done(null, work(Buffer.concat(parts), number, true));
      } catch (error) {
        done(asError(error));
      }
    },
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/**
 * Read before each file of tests (scripts/test.ts). `--test-timeout` fails a file whose last hook waits for ever and goes
 * on waiting for it; this ends it, so that the run goes on to the next.
 */
if (process.env.NODE_TEST_CONTEXT !== undefined) {
  const limitMs = Number(process.env.OTKLIK_TEST_FILE_MS);
  const end = () => {
    process.stderr.write(
      `${process.argv[1]} did not end within ${limitMs} ms: see what its hooks wait for\n`,
    );
    process.exit(1);
  };
  setTimeout(end, limitMs).unref();
}

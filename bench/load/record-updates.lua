-- The load of the ingest benchmark: POSTs of record updates, no two alike.
--   wrk -t1 -c64 -d6s -s record-updates.lua URL -- BODY_FILE RUN UNTIL_MS
-- BODY_FILE: one line of JSON whose id and last_change_date below are replaced in every request.
-- RUN: 10..99; the ids of two runs never meet. UNTIL_MS: epoch milliseconds.
--
-- After UNTIL_MS a connection sends the first line of a request and no more. No server answers that, so
-- what was sent before is answered in peace, and "acknowledged" is an exact number. Without it wrk
-- hangs up on one request per connection, which the server may have stored or not.
--
-- Prints one line of JSON. Percentiles are wrk's, corrected for coordinated omission as wrk 4 does it.

local ffi = require('ffi')
ffi.cdef [[
  typedef struct { long sec; long usec; } otklik_timeval;
  int gettimeofday(otklik_timeval *, void *);
]]

local SAMPLE_ID = '100000001'
local SAMPLE_CHANGED = '2026%-11%-21T00:00:00'
local timeval = ffi.new('otklik_timeval')
local format = string.format
local threads = {}

local function now_ms()
  ffi.C.gettimeofday(timeval, nil)
  return tonumber(timeval.sec) * 1000 + tonumber(timeval.usec) / 1000
end

function setup(thread)
  thread:set('thread_index', #threads)
  table.insert(threads, thread)
end

function init(args)
  local run, body_file = tonumber(args[2]), assert(io.open(args[1]))
  local sample = body_file:read('*l')
  body_file:close()

  template = sample:gsub('%%', '%%%%'):gsub(SAMPLE_ID, '%%d'):gsub(SAMPLE_CHANGED, '%%s')
  head = format('POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n',
    wrk.path, wrk.host, wrk.port, #sample)
  unfinished = format('POST %s HTTP/1.1\r\n', wrk.path)
  until_ms = tonumber(args[3])
  first_id = run * 10000000 + thread_index * 1000000
  body_bytes, sent, started_ms = #sample, 0, 0
  -- wrk asks the first thread for one request that it does not send, to see how many it pipelines.
  probed = thread_index > 0
end

function request()
  local now = now_ms()
  if now >= until_ms and probed then return unfinished end
  if probed then sent = sent + 1 end
  if started_ms == 0 and probed then started_ms = now end
  probed = true
  local id = first_id + sent
  local changed = format('2026-11-%02dT%02d:%02d:%02d',
    1 + first_id / 1000000 % 28, sent / 3600 % 24, sent / 60 % 60, sent % 60)
  return head .. format(template, id, id, id, changed)
end

function done(summary, latency)
  local sent_total, first_ms, last_ms, bytes = 0, math.huge, 0, 0
  for _, thread in ipairs(threads) do
    sent_total = sent_total + thread:get('sent')
    first_ms = math.min(first_ms, thread:get('started_ms'))
    last_ms = math.max(last_ms, thread:get('until_ms'))
    bytes = thread:get('body_bytes')
  end
  local errors = summary.errors
  print(format(
    '{"sent":%d,"completed":%d,"refused":%d,"socket_errors":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"body_bytes":%d}',
    sent_total, summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    (last_ms - first_ms) / 1000, latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000, bytes))
end

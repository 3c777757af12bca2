-- Forgets counters at an operator's word, and keeps who said it beside them.
--
-- KEYS     for each reset: its record list, then its counters; all of one hash tag
-- ARGV[1]  sequence number of the call, echoed; then for each reset: number of its keys, what is recorded (a JSON object)
-- Reply: {sequence, record...}: each record as it was written, with the store's time and how many counters there were

local MOST_RECORDS = 1000

local reply, at = {tonumber(ARGV[1])}, 0
for r = 1, (#ARGV - 1) / 2 do
  local count, record = tonumber(ARGV[2 * r]), cjson.decode(ARGV[2 * r + 1])
  local list, found = KEYS[at + 1], 0
  for k = at + 2, at + count do found = found + redis.call('EXISTS', KEYS[k]) end
  record.at, record.counters = redis.call('TIME')[1], tostring(found)
  local text = cjson.encode(record)
  -- The record first: where it cannot be written, nothing is forgotten.
  redis.call('RPUSH', list, text)
  redis.call('LTRIM', list, -MOST_RECORDS, -1)
  for k = at + 2, at + count do redis.call('DEL', KEYS[k]) end
  reply[r + 1], at = text, at + count
end
return reply

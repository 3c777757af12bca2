-- Tells where else payments are held: what `ratelimit.slot_groups` has noted beside their holds, and beside the holds
-- that they joined.
--
-- KEYS     the holds
-- ARGV[1]  sequence number of the call, echoed
-- Reply: {sequence, {note, ...}...}
--
-- A note and the hold that was joined share the hold's hash tag, so they live where it does, also in a cluster.

local function notes_of(hold) return redis.call('ZRANGE', hold .. ':others', '0', '-1') end

local reply = {tonumber(ARGV[1])}
for i, hold in ipairs(KEYS) do
  local notes, main = notes_of(hold), redis.call('HGET', hold, 'main')
  for _, note in ipairs(main and notes_of(main) or {}) do notes[#notes + 1] = note end
  reply[i + 1] = notes
end
return reply

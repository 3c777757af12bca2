-- Writes revocations down, all of them or none, and marks the event that they come from.
--
-- KEYS[1]  the list itself: hash with `id`, `born` (when, seconds) and `position`
-- KEYS[2]  hash from member to "not_before expires_at"
-- KEYS[3]  sorted set of members by position
-- KEYS[4]  sorted set of members by the time they may be forgotten
-- KEYS[5]  the mark of the event
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  id of the list, if it has none yet
-- ARGV[3]  how many members there may be
-- ARGV[4]  milliseconds until the mark may be forgotten; 0 when there is no event
-- ARGV[5]  how long past its end a member is kept, seconds: clocks differ
-- then for each member
--          the member, its not_before and its expires_at, seconds since 1970
--
-- Returns the sequence number, and 1 for written, 0 for an event that is marked already, -1 for a full list.
local sequence, mark_for = tonumber(ARGV[1]), tonumber(ARGV[4])
if mark_for > 0 and redis.call('EXISTS', KEYS[5]) == 1 then return {sequence, 0} end

local time = redis.call('TIME')
local now = tonumber(time[1])
local ended = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[5]), 'LIMIT', 0, 500)
for _, member in ipairs(ended) do
  redis.call('HDEL', KEYS[2], member)
  redis.call('ZREM', KEYS[3], member)
  redis.call('ZREM', KEYS[4], member)
end

local new, met = 0, {}
for place = 6, #ARGV, 3 do
  if not met[ARGV[place]] and redis.call('HEXISTS', KEYS[2], ARGV[place]) == 0 then new = new + 1 end
  met[ARGV[place]] = true
end
if new > 0 and redis.call('HLEN', KEYS[2]) + new > tonumber(ARGV[3]) then return {sequence, -1} end

if redis.call('HSETNX', KEYS[1], 'id', ARGV[2]) == 1 then redis.call('HSET', KEYS[1], 'born', time[1]) end
-- Positions are times where they can be: after a failover that lost some, new ones lie behind whatever was read.
local clock = now * 1000000 + tonumber(time[2])
local position = tonumber(redis.call('HGET', KEYS[1], 'position') or '0')
for place = 6, #ARGV, 3 do
  local member, before, ends = ARGV[place], ARGV[place + 1], ARGV[place + 2]
  local known = redis.call('HGET', KEYS[2], member)
  if known then
    local known_before, known_ends = string.match(known, '^(%S+) (%S+)$')
    if tonumber(known_before) > tonumber(before) then before = known_before end
    if tonumber(known_ends) > tonumber(ends) then ends = known_ends end
  end
  local value = before .. ' ' .. ends
  if value ~= known then
    position = math.max(position + 1, clock)
    redis.call('HSET', KEYS[2], member, value)
    redis.call('ZADD', KEYS[3], string.format('%.0f', position), member)
    redis.call('ZADD', KEYS[4], ends, member)
  end
end
redis.call('HSET', KEYS[1], 'position', string.format('%.0f', position))
if mark_for > 0 then redis.call('SET', KEYS[5], '1', 'PX', mark_for) end
return {sequence, 1}

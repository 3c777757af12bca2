-- Reads a part of the list of revocations.
--
-- KEYS     as for revoke.lua, without the mark
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  id of the list, if it has none yet
-- ARGV[3]  id of the list that was read before; empty: begin at its start
-- ARGV[4]  position up to which it was read
-- ARGV[5]  how many members to return at most
--
-- Returns the sequence number, the list's id and its age in seconds, 1 when it begins at its start, the position up to which it was read now,
-- 1 when nothing stands behind that, then member and "not_before expires_at" in turn.
local now = redis.call('TIME')[1]
local id = redis.call('HGET', KEYS[1], 'id')
if not id then
  id = ARGV[2]
  redis.call('HSET', KEYS[1], 'id', id, 'born', now)
end
local age = tonumber(now) - tonumber(redis.call('HGET', KEYS[1], 'born') or now)
local last = redis.call('HGET', KEYS[1], 'position') or '0'
local after, from_start = ARGV[4], 0
-- A list that ends before what was read is not the one that was read, whatever it is called.
if id ~= ARGV[3] or tonumber(last) < tonumber(after) then after, from_start = '0', 1 end

local limit = tonumber(ARGV[5])
local answer = {tonumber(ARGV[1]), id, age, from_start, after, 1}
if tonumber(last) == tonumber(after) then return answer end
local found = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. after, '+inf', 'LIMIT', 0, limit)
if #found == limit then
  answer[5] = string.format('%.0f', tonumber(redis.call('ZSCORE', KEYS[3], found[#found])))
  answer[6] = 0
else
  answer[5] = last
end
for _, member in ipairs(found) do
  table.insert(answer, member)
  table.insert(answer, redis.call('HGET', KEYS[2], member) or '')
end
return answer

-- Writes outcomes of held postings, in order. See ratelimit/ledger.py for the law.
--
-- KEYS     the holds
-- ARGV[1]  sequence number of the call, echoed; then for each hold: outcome (0 released, 1 spent, 2 in doubt), decision,
--          about
-- Reply: {sequence, done...}: 0 unknown or settled already, 1 done, 2 about differs, 3 waits for another participant
--
-- The counters, the identity and the hold that was joined are named in the hold itself. They share its hash tag, so they
-- live where it does, also in a cluster.

local UNKNOWN, DONE, OTHERWISE, WAITS = 0, 1, 2, 3
local RELEASED, SPENT, IN_DOUBT = '0', '1', '2'

local function give_back(held)
  for i = 1, #held, 3 do
    local key, bucket, cost = held[i], held[i + 1], tonumber(held[i + 2])
    -- A window that is over has no counter any more, and a bucket that slid out no field: nothing is made anew.
    local found = bucket == '' and redis.call('GET', key) or bucket ~= '' and redis.call('HGET', key, bucket)
    if found then
      local left = string.format('%.0f', math.max(0, tonumber(found) - cost))
      if bucket == '' then redis.call('SET', key, left, 'KEEPTTL') else redis.call('HSET', key, bucket, left) end
    end
  end
end

local function end_leases(hold, decision)
  local leases = redis.call('HGET', hold, 'leases')
  for _, key in ipairs(cjson.decode(leases or '[]')) do redis.call('ZREM', key, decision) end
  if leases then redis.call('HDEL', hold, 'leases') end
end

local function is_another_open(hold)
  local fields = redis.call('HGETALL', hold)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'p:' and fields[i + 1] ~= 'released' then return true end
  end
  return false
end

local function release(hold)
  if is_another_open(hold) then return WAITS end
  give_back(cjson.decode(redis.call('HGET', hold, 'held')))
  redis.call('HSET', hold, 'state', 'released')
  local identity = redis.call('HGET', hold, 'identity')
  -- Released, so the next request with this identity is counted again.
  if identity ~= '' then
    local value = redis.call('GET', identity)
    if value and string.sub(value, -#hold - 1) == ' ' .. hold then redis.call('DEL', identity) end
  end
  return DONE
end

local function settle(key, outcome, decision, about)
  local found = redis.call('HMGET', key, 'about', 'main')
  if not found[1] then return UNKNOWN end
  if found[1] ~= about then return OTHERWISE end
  if outcome ~= IN_DOUBT then end_leases(key, decision) end
  local hold, participant = found[2] or key, 'p:' .. decision
  if redis.call('HGET', hold, participant) ~= 'open' or redis.call('HGET', hold, 'state') ~= 'held' then
    return UNKNOWN
  end
  if outcome == RELEASED then
    redis.call('HSET', hold, participant, 'released')
    return release(hold)
  end
  redis.call('HSET', hold, participant, 'spent', 'state', 'spent')
  return DONE
end

local reply = {tonumber(ARGV[1])}
if #ARGV ~= 1 + 3 * #KEYS then error('settle: arguments') end
for i, key in ipairs(KEYS) do
  local at = 3 * i - 1
  local outcome = ARGV[at]
  if outcome ~= RELEASED and outcome ~= SPENT and outcome ~= IN_DOUBT then error('settle: argument ' .. at) end
  reply[i + 1] = settle(key, outcome, ARGV[at + 1], ARGV[at + 2])
end
return reply

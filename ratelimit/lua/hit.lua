-- Judges a batch of hits, in order, and adds all charges of a hit or none.
--
-- KEYS     the counters, each once
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  0, or the time in milliseconds to judge by (tests); 0 is the store's own clock
-- ARGV[3]  number of hits; then for each hit
--            valid_from_ms, valid_until_ms (0 0: any time), number of charges; then for each charge
--              index into KEYS, limit, cost, seconds to live, 1 if shadow else 0
--
-- Reply: {sequence, hit...}, a hit being {status} or {3, now_ms} or {status, used, over, ...}
--   status 1 charged, 0 over limit (nothing added), 2 a key holds no counter (nothing added), 3 other windows
--   used   after this hit where its cost was added, else as found;  over  1 or 0
--
-- A script error does not undo what was written before it. Hence three passes: every argument and
-- every counter is checked, then all hits are judged on local values, then each changed counter is
-- written once. Lua computes in doubles: no number above 2^53-1 is ever made or compared.

local MAX_DIGITS, MAX_TEXT = 16, '9007199254740991'
local CHARGED, OVER, POISONED, STALE = 1, 0, 2, 3
local LONGEST = 316224000 -- ten years: SET refuses absurd expiries, and it must not fail after a first write

local function whole(text)
  if #text > MAX_DIGITS or not (text == '0' or string.find(text, '^[1-9]%d*$')) then return nil end
  if #text == MAX_DIGITS and text > MAX_TEXT then return nil end
  return tonumber(text)
end

local cursor = 0

local function argument(lowest, highest)
  cursor = cursor + 1
  local value = ARGV[cursor] and whole(ARGV[cursor])
  if not value or value < lowest or value > highest then error('hit: argument ' .. cursor) end
  return value
end

local LARGEST = tonumber(MAX_TEXT)

local function read_hits()
  local hits = {}
  for h = 1, argument(1, 128) do
    local hit, seen = {from = argument(0, LARGEST), till = argument(0, LARGEST)}, {}
    for c = 1, argument(1, 64) do
      local key = argument(1, #KEYS)
      if seen[key] then error('hit: key twice') end
      seen[key] = true
      local limit, cost = argument(0, LARGEST), argument(0, LARGEST)
      local seconds, shadow = argument(1, LONGEST), argument(0, 1)
      hit[c] = {key, limit, cost, seconds, shadow}
    end
    hits[h] = hit
  end
  if cursor ~= #ARGV then error('hit: arguments left over') end
  return hits
end

local function read_counters()
  local counters = {}
  for i, key in ipairs(KEYS) do
    local found = redis.pcall('GET', key)
    if found == false then
      counters[i] = 0
    elseif type(found) == 'string' then
      counters[i] = whole(found) or false
    elseif string.find(found.err, 'WRONGTYPE', 1, true) then
      counters[i] = false
    else
      error(found.err)
    end
  end
  return counters
end

local sequence, now_ms = argument(0, LARGEST), argument(0, LARGEST)
local hits = read_hits()
local counters = read_counters()
local seconds_to_live = {}
if now_ms == 0 then
  local time = redis.call('TIME')
  now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function judge(hit)
  if hit.till > 0 and (now_ms < hit.from or now_ms >= hit.till) then return {STALE, now_ms} end
  local status, over = CHARGED, {}
  for c, charge in ipairs(hit) do
    local used = counters[charge[1]]
    if not used then return {POISONED} end
    -- limit - cost and used are both exact; used + cost might not be.
    over[c] = used > charge[2] - charge[3]
    if over[c] and charge[5] == 0 then status = OVER end
  end
  local answer = {status}
  for c, charge in ipairs(hit) do
    local key, cost = charge[1], charge[3]
    if status == CHARGED and not over[c] and cost > 0 then
      counters[key] = counters[key] + cost
      seconds_to_live[key] = charge[4]
    end
    answer[#answer + 1] = counters[key]
    answer[#answer + 1] = over[c] and 1 or 0
  end
  return answer
end

local reply = {sequence}
for h, hit in ipairs(hits) do reply[h + 1] = judge(hit) end

-- One command writes count and expiry together, so no counter is ever left without one.
for key, seconds in pairs(seconds_to_live) do
  redis.call('SET', KEYS[key], string.format('%.0f', counters[key]), 'EX', string.format('%.0f', seconds))
end
return reply

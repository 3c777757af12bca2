-- Takes the hits of a batch of requests, in order; `ratelimit.descriptors.tally` says what each law means.
--
-- KEYS     the counters, each once
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  number of requests; then for each request
--            law (0 all or none, 1 each, 2 each over), number of hits, start of its newest window and end of its oldest
--            in milliseconds since 1970 (end 0: none); then for each hit
--              index into KEYS, limit, cost, 1 if given back else 0, seconds to live, role (0 hard, 1 shadow, 2 quota)
--
-- Reply: {sequence, request...}, a request being {0} (a key holds no counter, nothing added), {2, now} (this server's
--   clock, milliseconds since 1970, is outside of its windows, nothing added) or {1, found, after, over, found, ...}
--
-- A script error does not undo what was written before it: every argument and counter is checked first, then all is
-- worked out on local values, then each changed counter is written once. Lua computes in doubles: a count stays at
-- 2^53-1 once it is there.

local MAX_DIGITS, MAX_TEXT = 16, '9007199254740991'
local LARGEST, LONGEST = tonumber(MAX_TEXT), 63244800
local ALL_OR_NONE, EACH_OVER = 0, 2
local HARD, QUOTA = 0, 2

local function whole(text)
  if #text > MAX_DIGITS or not (text == '0' or string.find(text, '^[1-9]%d*$')) then return nil end
  if #text == MAX_DIGITS and text > MAX_TEXT then return nil end
  return tonumber(text)
end

local cursor = 0

local function argument(highest)
  cursor = cursor + 1
  local value = ARGV[cursor] and whole(ARGV[cursor])
  if not value or value > highest then error('tally: argument ' .. cursor) end
  return value
end

local function read_requests()
  local requests = {}
  for r = 1, argument(128) do
    local request = {law = argument(EACH_OVER)}
    local hits = argument(256)
    request.starts, request.ends = argument(LARGEST), argument(LARGEST)
    for h = 1, hits do
      local hit = {key = argument(#KEYS), limit = argument(LARGEST), cost = argument(LARGEST), back = argument(1) == 1}
      hit.seconds, hit.role = argument(LONGEST), argument(QUOTA)
      if hit.key == 0 or hit.seconds == 0 then error('tally: zero') end
      request[h] = hit
    end
    requests[r] = request
  end
  if cursor ~= #ARGV then error('tally: arguments left over') end
  return requests
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

local sequence = argument(LARGEST)
local requests = read_requests()
local counters = read_counters()
local seconds_to_live = {}

local function fits(hit, found, law)
  if hit.back then return true end
  -- Where a refused hit is not counted, no counter goes past its limit: a look asks whether anything is left.
  if law == ALL_OR_NONE and hit.cost == 0 then return found < hit.limit end
  -- limit - cost and found are both exact; found + cost might not be.
  return found <= hit.limit - hit.cost
end

local function added(hit, found)
  if hit.back then return math.max(found - hit.cost, 0) end
  if found > LARGEST - hit.cost then return LARGEST end
  return found + hit.cost
end

-- Returns {found, after, over} of each hit, when those are added of which `is_added` says so.
local function walk(request, is_added)
  local here, outcome = {}, {}
  for h, hit in ipairs(request) do
    local found = here[hit.key] or counters[hit.key]
    local over = not fits(hit, found, request.law)
    local after = is_added(hit, over) and added(hit, found) or found
    here[hit.key] = after
    outcome[h] = {found, after, over}
  end
  return outcome
end

local function fitting_or_quota(hit, over) return not over or hit.role == QUOTA end
local function quota_alone(hit) return hit.role == QUOTA end
local function always() return true end
local function never() return false end
local function when_over(_, over) return over end

-- Returns whether a hard hit is over, and whether all of one or more quota hits are.
local function refusals(request, outcome)
  local hard, quotas, quotas_over = false, 0, 0
  for h, hit in ipairs(request) do
    local over = outcome[h][3]
    if hit.role == HARD and over then hard = true end
    if hit.role == QUOTA then
      quotas = quotas + 1
      if over then quotas_over = quotas_over + 1 end
    end
  end
  return hard, quotas > 0 and quotas == quotas_over
end

local function any_over(outcome)
  for _, each in ipairs(outcome) do
    if each[3] then return true end
  end
  return false
end

-- Walks again with less added; what was over stays over, for that is what the request was refused for.
local function walk_refused(request, outcome, is_added)
  local again = walk(request, is_added)
  for h, each in ipairs(outcome) do again[h][3] = each[3] end
  return again
end

local function judge(request)
  for _, hit in ipairs(request) do
    if not counters[hit.key] then return nil end
  end
  if request.law == EACH_OVER and any_over(walk(request, always)) then return walk(request, when_over) end
  if request.law ~= ALL_OR_NONE then return walk(request, always) end
  local outcome = walk(request, fitting_or_quota)
  local hard, quota = refusals(request, outcome)
  if hard then return walk_refused(request, outcome, never) end
  if quota then return walk_refused(request, outcome, quota_alone) end
  return outcome
end

local now

local function is_passed(request)
  if request.ends == 0 then return false end
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return now < request.starts or now >= request.ends
end

local function take(request)
  if is_passed(request) then return {2, now} end
  local outcome = judge(request)
  if not outcome then return {0} end
  local answer = {1}
  for h, hit in ipairs(request) do
    local each = outcome[h]
    if each[2] ~= each[1] then
      counters[hit.key] = each[2]
      seconds_to_live[hit.key] = hit.seconds
    end
    answer[#answer + 1] = each[1]
    answer[#answer + 1] = each[2]
    answer[#answer + 1] = each[3] and 1 or 0
  end
  return answer
end

local reply = {sequence}
for r, request in ipairs(requests) do reply[r + 1] = take(request) end

-- One command writes count and expiry together, so no counter is ever left without one.
for key, seconds in pairs(seconds_to_live) do
  redis.call('SET', KEYS[key], string.format('%.0f', counters[key]), 'EX', string.format('%.0f', seconds))
end
return reply

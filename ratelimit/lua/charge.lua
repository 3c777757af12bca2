-- Judges a batch of postings, in order, and adds all entries of a posting or none. See ratelimit/ledger.py for the law.
--
-- KEYS     the counters, holds and identities, each once; all of one hash tag
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  0, or the time in milliseconds to judge by (tests); 0 is the store's own clock
-- ARGV[3]  number of postings; then for each
--            valid_from_ms, valid_until_ms (0 0: any time)
--            0, or the place of its hold in KEYS; then decision, about, seconds
--              and 0, or the place of its identity in KEYS; then digest, seconds
--            number of entries; then for each: kind, place of its key, limit, cost, seconds to live, flags, step, buckets,
--              and for kinds 3 and 4 the member
--
-- Reply: {sequence, posting...}, a posting being {status} or {3, now_ms} or {status, used, over, used, over, ...}
--   status 1 charged, 0 over limit, 2 a key holds something else, 3 other windows, 4 other digest, 5 repeated
--   over   0, or 1 + milliseconds until it might fit
--
-- A script error does not undo what was written before it. Hence: every argument and every key is read and checked, all
-- postings are judged on local values, then each changed key is written. Lua computes in doubles: no number above 2^53-1
-- is ever made or compared.

local WINDOW, SLIDING, RATE, DISTINCT, LEASE = 0, 1, 2, 3, 4
local OVER, CHARGED, POISONED, STALE, MISMATCH, REPEATED = 0, 1, 2, 3, 4, 5
local MAX_DIGITS, MAX_TEXT = 16, '9007199254740991'
local LARGEST, LONGEST = tonumber(MAX_TEXT), 316224000

local function whole(text)
  if #text > MAX_DIGITS or not (text == '0' or string.find(text, '^[1-9]%d*$')) then return nil end
  if #text == MAX_DIGITS and text > MAX_TEXT then return nil end
  return tonumber(text)
end

local function digits(number) return string.format('%.0f', number) end

local cursor = 0

local function text()
  cursor = cursor + 1
  local value = ARGV[cursor]
  if not value or value == '' then error('charge: argument ' .. cursor) end
  return value
end

local function argument(lowest, highest)
  local value = whole(text())
  if not value or value < lowest or value > highest then error('charge: argument ' .. cursor) end
  return value
end

local function read_entry(seen)
  local entry = {kind = argument(WINDOW, LEASE), key = argument(1, #KEYS), limit = argument(0, LARGEST),
    cost = argument(0, LARGEST), seconds = argument(1, LONGEST)}
  local flags = argument(0, 7)
  entry.step, entry.buckets = argument(0, LARGEST), argument(0, 100)
  entry.shadow, entry.once, entry.held = flags % 2 == 1, math.floor(flags / 2) % 2 == 1, flags >= 4
  if entry.kind >= DISTINCT then entry.member = text() end
  if seen[entry.key] then error('charge: key twice') end
  seen[entry.key] = true
  return entry
end

local function read_hold()
  local key = argument(0, #KEYS)
  if key == 0 then return nil end
  local hold = {key = key, decision = text(), about = text(), seconds = argument(1, LONGEST)}
  local identity = argument(0, #KEYS)
  if identity > 0 then
    hold.identity, hold.digest, hold.remember = identity, text(), argument(1, LONGEST)
  end
  return hold
end

local function read_postings()
  local postings = {}
  for p = 1, argument(1, 128) do
    local posting = {from = argument(0, LARGEST), till = argument(0, LARGEST), hold = read_hold(), entries = {}}
    local seen = {}
    for e = 1, argument(1, 64) do posting.entries[e] = read_entry(seen) end
    postings[p] = posting
  end
  if cursor ~= #ARGV then error('charge: arguments left over') end
  return postings
end

local sequence, given_ms = argument(0, LARGEST), argument(0, LARGEST)
local postings = read_postings()
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
if given_ms > 0 then now_us = given_ms * 1000 end
local now_ms = math.floor(now_us / 1000)

-- Reading. A key of another type or with other content is poisoned: false.

local function found(answer)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then return nil end
    error(answer.err)
  end
  return answer
end

local function read_number(key)
  local value = found(redis.pcall('GET', KEYS[key]))
  if value == nil then return false end
  if value == false then return {value = 0} end
  local number = whole(value)
  return number and {value = number} or false
end

local function read_buckets(key)
  local fields = found(redis.pcall('HGETALL', KEYS[key]))
  if not fields then return false end
  local state = {sums = {}, changed = {}}
  for i = 1, #fields, 2 do
    local bucket, sum = whole(fields[i]), whole(fields[i + 1])
    if not bucket or not sum then return false end
    state.sums[bucket] = sum
  end
  return state
end

local function read_members(entry)
  local key = KEYS[entry.key]
  -- A lease is alive while its end lies ahead; a distinct member while its last sight lies within the span.
  local after = now_ms
  if entry.kind == DISTINCT then after = entry.step == 0 and -1 or now_ms - entry.step end
  local count = found(redis.pcall('ZCOUNT', key, '(' .. digits(after), '+inf'))
  if not count then return false end
  return {count = count, after = after, known = {}, added = {}}
end

local states = {}

local function state_of(entry)
  local state = states[entry.key]
  if state == nil then
    if entry.kind == WINDOW or entry.kind == RATE then state = read_number(entry.key)
    elseif entry.kind == SLIDING then state = read_buckets(entry.key)
    else state = read_members(entry) end
    if state then state.kind = entry.kind end
    states[entry.key] = state
  end
  if state and state.kind ~= entry.kind then return false end
  return state
end

local function has_member(state, entry)
  if state.known[entry.member] == nil then
    local score = redis.call('ZSCORE', KEYS[entry.key], entry.member)
    state.known[entry.member] = score and tonumber(score) > state.after or false
  end
  return state.known[entry.member]
end

-- Judging. Each judge returns what is used, whether the entry is over, and how long it would have to wait.

local judges = {}

judges[WINDOW] = function(state, entry)
  -- limit - cost and used are both exact; used + cost might not be.
  return state.value, state.value > entry.limit - entry.cost, 0
end

judges[SLIDING] = function(state, entry)
  local current = math.floor(now_ms / entry.step)
  local oldest, used, first = current - entry.buckets, 0, nil
  for bucket, sum in pairs(state.sums) do
    -- A clock that was set back leaves buckets ahead of now: they count as well.
    if bucket >= oldest and sum > 0 then
      used = math.min(used + sum, LARGEST)
      if not first or bucket < first then first = bucket end
    end
  end
  local wait = first and (first + entry.buckets + 1) * entry.step - now_ms or 0
  return used, used > entry.limit - entry.cost, wait
end

judges[RATE] = function(state, entry)
  local ahead = math.max(state.value, now_us) - now_us
  local free_at = ahead + entry.cost * entry.step - entry.limit * entry.step
  return math.ceil(ahead / entry.step), free_at > 0, math.max(0, math.ceil(free_at / 1000))
end

local function judge_member(state, entry)
  if has_member(state, entry) then return state.count, state.count > entry.limit, 0 end
  return state.count, state.count > entry.limit - entry.cost, 0
end

judges[DISTINCT], judges[LEASE] = judge_member, judge_member

-- Adding, on the local values.

local adders = {}

adders[WINDOW] = function(state, entry)
  state.value, state.seconds = state.value + entry.cost, entry.seconds
  return state.value
end

adders[SLIDING] = function(state, entry)
  local current = math.floor(now_ms / entry.step)
  state.sums[current] = (state.sums[current] or 0) + entry.cost
  state.changed[current], state.oldest, state.seconds = true, current - entry.buckets, entry.seconds
  return (judges[SLIDING](state, entry))
end

adders[RATE] = function(state, entry)
  state.value, state.seconds = math.max(state.value, now_us) + entry.cost * entry.step, entry.seconds
  return (judges[RATE](state, entry))
end

local function add_member(state, entry)
  if not has_member(state, entry) then state.count = state.count + 1 end
  state.known[entry.member], state.seconds = true, entry.seconds
  state.added[entry.member] = entry.kind == LEASE and now_ms + entry.step or now_ms
  return state.count
end

adders[DISTINCT], adders[LEASE] = add_member, add_member

-- Holds. What a posting adds to its held entries is written beside its participants, one a request.

local holds, identities, hold_writes = {}, {}, {}

local function write(...) hold_writes[#hold_writes + 1] = {...} end

local function is_free(hold)
  if holds[hold.key] == nil then holds[hold.key] = redis.call('EXISTS', KEYS[hold.key]) == 0 end
  return holds[hold.key]
end

local function known_identity(hold)
  if not hold or not hold.identity then return nil end
  local known = identities[hold.identity]
  if known == nil then
    local value = found(redis.pcall('GET', KEYS[hold.identity]))
    known = false
    if value == nil then return POISONED end
    if value then
      local digest, main = string.match(value, '^(%S+) (.+)$')
      if not digest then return POISONED end
      known = {digest = digest, main = main}
    end
    identities[hold.identity] = known
  end
  return known or nil
end

local function open_hold(hold, held, leases)
  holds[hold.key] = false
  local key = KEYS[hold.key]
  write('HSET', key, 'about', hold.about, 'held', cjson.encode(held), 'leases', cjson.encode(leases), 'state', 'held',
    'identity', hold.identity and KEYS[hold.identity] or '', 'p:' .. hold.decision, 'open')
  write('EXPIRE', key, digits(hold.seconds))
  if hold.identity then
    identities[hold.identity] = {digest = hold.digest, main = key}
    write('SET', KEYS[hold.identity], hold.digest .. ' ' .. key, 'EX', digits(hold.remember))
  end
end

local function join_hold(hold, main, leases)
  holds[hold.key] = false
  local key = KEYS[hold.key]
  write('HSET', key, 'about', hold.about, 'main', main, 'leases', cjson.encode(leases))
  write('EXPIRE', key, digits(hold.seconds))
  -- Opened in this batch, or found: a hold that has run out or is spent needs no further participant.
  local is_held = redis.call('TYPE', main).ok == 'hash' and redis.call('HGET', main, 'state') == 'held'
  for _, command in ipairs(hold_writes) do
    if command[1] == 'HSET' and command[2] == main then is_held = true end
  end
  if is_held then write('HSET', main, 'p:' .. hold.decision, 'open') end
end

local function judge(posting)
  if posting.till > 0 and (now_ms < posting.from or now_ms >= posting.till) then return {STALE, now_ms} end
  local hold, known = posting.hold, known_identity(posting.hold)
  if known == POISONED or (hold and not is_free(hold)) then return {POISONED} end
  if known and known.digest ~= hold.digest then return {MISMATCH} end
  local status, used, over, wait = known and REPEATED or CHARGED, {}, {}, {}
  for e, entry in ipairs(posting.entries) do
    local state = state_of(entry)
    if not state then return {POISONED} end
    used[e], over[e], wait[e] = judges[entry.kind](state, entry)
    if known and entry.once then over[e] = false end
    if over[e] and not entry.shadow then status = OVER end
  end
  local held, leases = {}, {}
  for e, entry in ipairs(posting.entries) do
    local adds = status ~= OVER and not over[e] and entry.cost > 0 and not (known and entry.once)
    if adds then
      used[e] = adders[entry.kind](states[entry.key], entry)
      if entry.kind == LEASE then leases[#leases + 1] = KEYS[entry.key] end
      if entry.held then
        local bucket = entry.kind == SLIDING and digits(math.floor(now_ms / entry.step)) or ''
        for _, part in ipairs({KEYS[entry.key], bucket, digits(entry.cost)}) do held[#held + 1] = part end
      end
    end
  end
  if hold and status == CHARGED then open_hold(hold, held, leases) end
  if hold and status == REPEATED then join_hold(hold, known.main, leases) end
  local answer = {status}
  for e in ipairs(posting.entries) do
    answer[#answer + 1] = used[e]
    answer[#answer + 1] = over[e] and 1 + math.max(0, wait[e]) or 0
  end
  return answer
end

local reply = {sequence}
for p, posting in ipairs(postings) do reply[p + 1] = judge(posting) end

-- Writing. Count and expiry go together, so no counter is ever left without one.

local function write_buckets(key, state)
  for bucket in pairs(state.changed) do redis.call('HSET', key, digits(bucket), digits(state.sums[bucket])) end
  for bucket in pairs(state.sums) do
    if bucket < state.oldest then redis.call('HDEL', key, digits(bucket)) end
  end
end

local function write_members(key, state)
  for member, score in pairs(state.added) do redis.call('ZADD', key, digits(score), member) end
  if state.after > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', digits(state.after)) end
end

for place, state in pairs(states) do
  if state and state.seconds then
    local key, seconds = KEYS[place], digits(state.seconds)
    if state.kind == WINDOW or state.kind == RATE then
      redis.call('SET', key, digits(state.value), 'EX', seconds)
    else
      (state.kind == SLIDING and write_buckets or write_members)(key, state)
      redis.call('EXPIRE', key, seconds)
    end
  end
end
for _, command in ipairs(hold_writes) do redis.call(unpack(command)) end
return reply

-- Marks proofs as used, each once for all replicas.
--
-- KEYS     the marks, in order; one may stand there twice
-- ARGV[1]  sequence number of the call, echoed
-- then for each mark
--          the request that uses it; empty when nothing tells one request from another
--          milliseconds until it may be forgotten
--
-- Returns the sequence number, then for each mark 1 for the first use, 2 for the same request again, 0 for another use.
local answer = {tonumber(ARGV[1])}
for place, key in ipairs(KEYS) do
  local request = ARGV[2 * place]
  if redis.call('SET', key, request, 'NX', 'PX', ARGV[2 * place + 1]) then
    answer[place + 1] = 1
  elseif request ~= '' and redis.call('GET', key) == request then
    answer[place + 1] = 2
  else
    answer[place + 1] = 0
  end
end
return answer

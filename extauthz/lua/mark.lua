-- Marks a proof as used, once for all replicas.
--
-- KEYS[1]  the mark
-- ARGV[1]  sequence number of the call, echoed
-- ARGV[2]  the request that uses it; empty when nothing tells one request from another
-- ARGV[3]  milliseconds until it may be forgotten
--
-- Returns the sequence number and 1 for the first use, 2 for the same request again, 0 for another use.
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) then
  return {tonumber(ARGV[1]), 1}
end
if ARGV[2] ~= '' and redis.call('GET', KEYS[1]) == ARGV[2] then
  return {tonumber(ARGV[1]), 2}
end
return {tonumber(ARGV[1]), 0}

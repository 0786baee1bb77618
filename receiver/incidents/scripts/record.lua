-- Store the state of a delivery, in the group's latest incident or in a past one.
-- KEYS: group, past, timeline, lease_owners, index of failed deliveries, log of changes, then a key for each
--       queue to wake
-- ARGV: id, worker ('' does not check the lease), field, value, due time, wake channel, timeline cap, number
--       of events, the events, then the time of the final failure ('' if there is none), seconds to keep the
--       index, and the queues' names
-- Returns 1 if written, 0 if the worker does not hold the lease, -1 if the incident does not exist.
if ARGV[2] ~= '' and redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
local hash_key = KEYS[1]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then hash_key = KEYS[2] end
if redis.call('EXISTS', hash_key) == 0 then return -1 end
local n = tonumber(ARGV[8])
-- The client repeats the call if the connection breaks before the answer; then the events are there already.
local is_known = redis.call('HGET', hash_key, ARGV[3]) == ARGV[4]
redis.call('HSET', hash_key, ARGV[3], ARGV[4])
if n > 0 and not is_known then
  for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[8 + i]) end
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[7]), -1)
  local ttl = redis.call('TTL', hash_key)
  if ttl > 0 then redis.call('EXPIRE', KEYS[3], ttl) end
end
local entry, failed_at = ARGV[1] .. ' ' .. ARGV[3], ARGV[9 + n]
if failed_at == '' then
  redis.call('ZREM', KEYS[5], entry)
else
  redis.call('ZADD', KEYS[5], failed_at, entry)
  redis.call('EXPIRE', KEYS[5], ARGV[10 + n])
end
local due = moment(ARGV[5])
log_change(KEYS[6], ARGV[1])
for i = 7, #KEYS do
  redis.call('ZADD', KEYS[i], 'LT', due, ARGV[1])
  redis.call('PUBLISH', ARGV[6], ARGV[10 + n + i - 6] .. ' ' .. ARGV[5])
end
return 1

-- Store the state of a delivery, in the group's latest incident or in a past one.
-- KEYS: group, past, timeline, lease_owners, index of failed deliveries, log of changes, then a key for each
--       queue to wake
-- ARGV: id, worker ('' does not check the lease), field, value, number of writes that the caller expects after
--       this one ('' for any), due time of every queue after another number ('': the caller plans again), wake
--       channel, timeline cap, number of events, the events, then the time of the final failure ('' if there
--       is none), seconds to keep the index, and a due time ('': only after another number of writes) and a
--       name for each queue
-- Returns the number of writes, 0 if the worker does not hold the lease, -1 if the incident does not exist,
-- false if the caller is to plan again: then no queue is woken.
if ARGV[2] ~= '' and redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
local hash_key = KEYS[1]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then hash_key = KEYS[2] end
if redis.call('EXISTS', hash_key) == 0 then return -1 end
local n = tonumber(ARGV[9])
-- The client repeats the call if the connection breaks before the answer; then the events are there already.
local is_known = redis.call('HGET', hash_key, ARGV[3]) == ARGV[4]
local writes = redis.call('HINCRBY', hash_key, 'w', is_known and 0 or 1)
redis.call('HSET', hash_key, ARGV[3], ARGV[4])
if n > 0 and not is_known then
  for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[9 + i]) end
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[8]), -1)
  local ttl = redis.call('TTL', hash_key)
  if ttl > 0 then redis.call('EXPIRE', KEYS[3], ttl) end
end
local entry, failed_at = ARGV[1] .. ' ' .. ARGV[3], ARGV[10 + n]
if failed_at == '' then
  redis.call('ZREM', KEYS[5], entry)
else
  redis.call('ZADD', KEYS[5], failed_at, entry)
  redis.call('EXPIRE', KEYS[5], ARGV[11 + n])
end
log_change(KEYS[6], ARGV[1])
local is_changed = ARGV[5] ~= '' and writes ~= tonumber(ARGV[5])
if is_changed and ARGV[6] == '' then return false end
for i = 7, #KEYS do
  local due, queue = is_changed and ARGV[6] or ARGV[2 * i + n - 2], ARGV[2 * i + n - 1]
  if due ~= '' then enqueue(KEYS[i], ARGV[1], due, ARGV[7], queue) end
end
return writes

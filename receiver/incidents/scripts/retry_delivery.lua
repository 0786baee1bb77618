-- Send a failed delivery again, unless it was retried or sent in between.
-- KEYS: group, past, timeline, index of failed deliveries, queue, log of changes
-- ARGV: id, field, time of the failure, delivery, event, timeline cap, due time, wake channel, queue
local entry = ARGV[1] .. ' ' .. ARGV[2]
local failed_at = redis.call('ZSCORE', KEYS[4], entry)
if not failed_at or tonumber(failed_at) ~= tonumber(ARGV[3]) then return 0 end
redis.call('ZREM', KEYS[4], entry)
local hash_key = KEYS[1]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then hash_key = KEYS[2] end
if redis.call('EXISTS', hash_key) == 0 then return 0 end
redis.call('HSET', hash_key, ARGV[2], ARGV[4])
redis.call('HINCRBY', hash_key, 'w', 1)
redis.call('RPUSH', KEYS[3], ARGV[5])
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[6]), -1)
local ttl = redis.call('TTL', hash_key)
if ttl > 0 then redis.call('EXPIRE', KEYS[3], ttl) end
enqueue(KEYS[5], ARGV[1], ARGV[7], ARGV[8], ARGV[9])
log_change(KEYS[6], ARGV[1])
return 1

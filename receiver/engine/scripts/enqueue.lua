-- Enqueue a member; an earlier due time is kept.
-- KEYS: queue   ARGV: member, due time, wake channel, queue, `NX`: only if it is not in the queue
if ARGV[5] == 'NX' then return redis.call('ZADD', KEYS[1], 'NX', timestamp(ARGV[2]), ARGV[1]) end
redis.call('ZADD', KEYS[1], 'LT', timestamp(ARGV[2]), ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. ARGV[2])
return 1

-- Enqueue a member; an earlier due time is kept.
-- KEYS: queue   ARGV: member, due time, wake channel, queue, `NX`: only if it is not in the queue
if ARGV[5] == 'NX' then return redis.call('ZADD', KEYS[1], 'NX', timestamp(ARGV[2]), ARGV[1]) end
enqueue(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
return 1

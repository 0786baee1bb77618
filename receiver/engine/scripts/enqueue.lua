-- Have a queue look at something, or earlier if it would anyway.
-- KEYS: queue   ARGV: member, moment due, wake channel, queue, `NX`: unless it waits for some moment already
if ARGV[5] == 'NX' then return redis.call('ZADD', KEYS[1], 'NX', moment(ARGV[2]), ARGV[1]) end
redis.call('ZADD', KEYS[1], 'LT', moment(ARGV[2]), ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. ARGV[2])
return 1

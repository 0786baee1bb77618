-- Keep an errand and have it done, once for each id.
-- KEYS: errand, agenda   ARGV: payload, seconds to keep, member, moment due, wake channel, lane
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], 'LT', ARGV[4], ARGV[3])
redis.call('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. ARGV[4])
return 1

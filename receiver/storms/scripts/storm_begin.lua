-- Keep a storm that begins, unless another is on at its place.
-- KEYS: storms on, storm, unresolved storms, queue
-- ARGV: place, the storm it is to take the place of (''), id, packed state, moment it began, moment due,
--       wake channel, queue
-- Returns the storm that is on then.
local on = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if on ~= '' and on ~= ARGV[2] then return on end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], 'v', '1', 'n', '0', 'state', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
redis.call('ZADD', KEYS[4], 'LT', moment(ARGV[6]), ARGV[3])
redis.call('PUBLISH', ARGV[7], ARGV[8] .. ' ' .. ARGV[6])
return ARGV[3]

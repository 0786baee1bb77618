-- Keep how a route's reviews stand, unless somebody else changed that first.
-- KEYS: reviews   ARGV: version read, packed state, seconds to keep
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', tostring(tonumber(ARGV[1]) + 1), 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1

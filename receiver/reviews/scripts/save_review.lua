-- Save the state of a route's reviews by compare-and-set on its version; returns 1, or 0 if it changed.
-- KEYS: reviews   ARGV: version read, packed state, seconds to keep
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', tostring(tonumber(ARGV[1]) + 1), 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1

-- Delete and replace alert fields of a group, unless its version changed since it was read.
-- The version stays, since no input of a decision changes.
-- KEYS: group, log of changes
-- ARGV: version read, number of fields to delete, those fields, then fields and values to write
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
local n = tonumber(ARGV[2])
for i = 1, n do redis.call('HDEL', KEYS[1], ARGV[2 + i]) end
for i = 3 + n, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', KEYS[1], 'w', 1)
log_change(KEYS[2], redis.call('HGET', KEYS[1], 'id'))
return 1

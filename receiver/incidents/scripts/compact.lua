-- Write anew which alerts a group keeps and how they are worded, unless its version changed since it was read.
-- The version stays: nothing that a decision rests on changes.
-- KEYS: group   ARGV: version read, how many fields go, those fields, then fields and values
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
local n = tonumber(ARGV[2])
for i = 1, n do redis.call('HDEL', KEYS[1], ARGV[2 + i]) end
for i = 3 + n, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1

-- Write a changed incident, unless somebody else changed its group first.
-- KEYS: group, past, timeline, index to be in, index to leave, then an agenda for each lane to wake
-- ARGV: version read, put the former incident aside?, seconds to keep (0: for ever), id, moment for
--       the index, moment due, wake channel, seconds to keep what is put aside, timeline cap,
--       number of events, the events, the lanes' names, then fields and values
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
local keep = tonumber(ARGV[3])
if ARGV[2] == '1' then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
local n = tonumber(ARGV[10])
for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[10 + i]) end
if n > 0 then redis.call('LTRIM', KEYS[3], -tonumber(ARGV[9]), -1) end
local lanes = #KEYS - 5
local first = 11 + n + lanes
for i = first, #ARGV, 200 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 199, #ARGV)))
end
redis.call('HSET', KEYS[1], 'v', tostring(tonumber(ARGV[1]) + 1), 'id', ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[5], ARGV[4])
redis.call('ZREM', KEYS[5], ARGV[4])
if keep > 0 then
  redis.call('EXPIRE', KEYS[1], keep)
  redis.call('EXPIRE', KEYS[3], keep)
  redis.call('EXPIRE', KEYS[4], keep)
else
  redis.call('PERSIST', KEYS[1])
  redis.call('PERSIST', KEYS[3])
end
for i = 1, lanes do
  redis.call('ZADD', KEYS[5 + i], 'LT', ARGV[6], ARGV[4])
  redis.call('PUBLISH', ARGV[7], ARGV[10 + n + i] .. ' ' .. ARGV[6])
end
return 1

-- Write a changed incident, unless somebody else changed its group first, or an alert that is to fire in
-- it already fires in a neighbour.
-- KEYS: group, past, timeline, index to be in, index to leave, homes, then an agenda for each lane to wake
-- ARGV: version read, put the former incident aside?, seconds to keep (0: for ever), id, moment for
--       the index, moment due, wake channel, seconds to keep what is put aside, timeline cap,
--       number of events, three packed lists: the alerts that begin to fire, those that cease to, and
--       `ALERT SLOT` for each home known to be left; the events, the lanes' names, then fields and values
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
local keep, slot = tonumber(ARGV[3]), ARGV[4]:match('^[^-]*')
local begun, ended, is_left = cmsgpack.unpack(ARGV[11]), cmsgpack.unpack(ARGV[12]), {}
for _, home in ipairs(cmsgpack.unpack(ARGV[13])) do is_left[home] = true end
for i = 1, #begun, 200 do
  for k, home in ipairs(redis.call('HMGET', KEYS[6], unpack(begun, i, math.min(i + 199, #begun)))) do
    if home and home ~= slot and not is_left[begun[i + k - 1] .. ' ' .. home] then return 0 end
  end
end
if ARGV[2] == '1' then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
local n = tonumber(ARGV[10])
for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[13 + i]) end
if n > 0 then redis.call('LTRIM', KEYS[3], -tonumber(ARGV[9]), -1) end
for i = 1, #begun, 100 do
  local homes = {}
  for k = i, math.min(i + 99, #begun) do
    homes[#homes + 1] = begun[k]
    homes[#homes + 1] = slot
  end
  redis.call('HSET', KEYS[6], unpack(homes))
end
for _, alert in ipairs(ended) do
  if redis.call('HGET', KEYS[6], alert) == slot then redis.call('HDEL', KEYS[6], alert) end
end
redis.call('EXPIRE', KEYS[6], ARGV[8])
local lanes = #KEYS - 6
local first = 14 + n + lanes
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
  redis.call('ZADD', KEYS[6 + i], 'LT', ARGV[6], ARGV[4])
  redis.call('PUBLISH', ARGV[7], ARGV[13 + n + i] .. ' ' .. ARGV[6])
end
return 1

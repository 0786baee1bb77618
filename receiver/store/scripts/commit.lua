-- Write a changed incident, unless somebody else changed its group first, or an alert that is to fire in
-- it already fires in a neighbour.
-- KEYS: group, past, timeline, index to be in, index to leave, homes, then an agenda for each lane to wake
-- ARGV: version read, put the former incident aside?, seconds to keep (0: for ever), id, moment for
--       the index, moment due, wake channel, seconds to keep what is put aside, timeline cap,
--       number of events, of alerts that begin and that cease to fire, of homes known to be left, the
--       events, the lanes' names, the alerts that begin, those that cease, pairs of alert and slot for
--       the homes that are left, then fields and values
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
local keep, slot = tonumber(ARGV[3]), ARGV[4]:match('^[^-]*')
local n, begun, ended, left = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local lanes = #KEYS - 6
local from = 14 + n + lanes
local is_left = {}
for i = from + begun + ended, from + begun + ended + 2 * left - 1, 2 do
  is_left[ARGV[i] .. ' ' .. ARGV[i + 1]] = true
end
for i = from, from + begun - 1, 200 do
  local last = math.min(i + 199, from + begun - 1)
  for k, home in ipairs(redis.call('HMGET', KEYS[6], unpack(ARGV, i, last))) do
    if home and home ~= slot and not is_left[ARGV[i + k - 1] .. ' ' .. home] then return 0 end
  end
end
if ARGV[2] == '1' then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[13 + i]) end
if n > 0 then redis.call('LTRIM', KEYS[3], -tonumber(ARGV[9]), -1) end
for i = from, from + begun - 1, 100 do
  local pairs_ = {}
  for k = i, math.min(i + 99, from + begun - 1) do
    pairs_[#pairs_ + 1] = ARGV[k]
    pairs_[#pairs_ + 1] = slot
  end
  redis.call('HSET', KEYS[6], unpack(pairs_))
end
for i = from + begun, from + begun + ended - 1 do
  if redis.call('HGET', KEYS[6], ARGV[i]) == slot then redis.call('HDEL', KEYS[6], ARGV[i]) end
end
redis.call('EXPIRE', KEYS[6], ARGV[8])
local first = from + begun + ended + 2 * left
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

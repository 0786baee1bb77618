-- Write a changed incident, unless another process changed its group first, or a sibling group owns an alert
-- that begins to fire in it.
-- KEYS: group, past, timeline, index to be in, index to leave, owners, ended owners, log of changes, then the
--       key of each queue in which to enqueue it
-- ARGV: version read, move the former incident to past?, seconds to keep (0: no expiry), id, score in the
--       index, wake channel, seconds to keep the past incident, timeline cap, number of events, three packed
--       lists: the alerts that begin to fire, those that end, and `ALERT GROUP_ID VERSION` for each former
--       owner as it was read; seconds to keep the owner of an ended alert, latest time of the write (in ms,
--       0: any); the events, a due time (see _timestamps.lua) and a name for each queue, then fields and values
-- Returns 1 if written, 0 if the group was changed or it is too late, else
-- {{ALERT, GROUP_ID, ...}, GROUP_ID, version, head, ...}: the owners that prevent it, and their incidents.
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
local keep, group_id = tonumber(ARGV[3]), ARGV[4]:match('^[^-]*')
local begun, ended, is_left = cmsgpack.unpack(ARGV[10]), cmsgpack.unpack(ARGV[11]), {}
local now, latest = 0, tonumber(ARGV[14])
if #begun > 0 or #ended > 0 or latest > 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if latest > 0 and now > latest then return 0 end
for _, owner in ipairs(cmsgpack.unpack(ARGV[12])) do is_left[owner] = true end
local owners, others, prefix = {}, {}, KEYS[1]:match('^(.*:)')
for i = 1, #begun, 200 do
  for k, owner in ipairs(redis.call('HMGET', KEYS[6], unpack(begun, i, math.min(i + 199, #begun)))) do
    local alert = begun[i + k - 1]
    if owner and owner ~= group_id
      and not is_left[alert .. ' ' .. owner .. ' ' .. (redis.call('HGET', prefix .. owner, 'v') or '0')] then
      owners[#owners + 1] = alert
      owners[#owners + 1] = owner
      others[owner] = true
    end
  end
end
if #owners > 0 then
  local answer = {owners}
  for owner in pairs(others) do
    local stored = redis.call('HMGET', prefix .. owner, 'v', 'head')
    answer[#answer + 1] = owner
    answer[#answer + 1] = stored[1] or '0'
    answer[#answer + 1] = stored[2] or ''
  end
  return answer
end
if ARGV[2] == '1' then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('HINCRBY', KEYS[2], 'w', 1)
  redis.call('EXPIRE', KEYS[2], ARGV[7])
end
local n = tonumber(ARGV[9])
for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[14 + i]) end
if n > 0 then redis.call('LTRIM', KEYS[3], -tonumber(ARGV[8]), -1) end
for i = 1, #begun, 100 do
  local fields = {}
  for k = i, math.min(i + 99, #begun) do
    fields[#fields + 1] = begun[k]
    fields[#fields + 1] = group_id
  end
  redis.call('HSET', KEYS[6], unpack(fields))
  redis.call('ZREM', KEYS[7], unpack(begun, i, math.min(i + 99, #begun)))
end
for _, alert in ipairs(ended) do
  if redis.call('HGET', KEYS[6], alert) == group_id then
    redis.call('ZADD', KEYS[7], now + ARGV[13] * 1000, alert)
  end
end
if now > 0 then
  for _, alert in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('HDEL', KEYS[6], alert)
    redis.call('ZREM', KEYS[7], alert)
  end
end
local owners_for = ARGV[7]
if redis.call('HLEN', KEYS[6]) == redis.call('ZCARD', KEYS[7]) then owners_for = ARGV[13] end
redis.call('EXPIRE', KEYS[6], owners_for)
redis.call('EXPIRE', KEYS[7], owners_for)
local queues = #KEYS - 8
local first = 15 + n + 2 * queues
for i = first, #ARGV, 200 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 199, #ARGV)))
end
redis.call('HSET', KEYS[1], 'v', tostring(tonumber(ARGV[1]) + 1), 'id', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'w', 1)
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
log_change(KEYS[8], ARGV[4])
for i = 1, queues do enqueue(KEYS[8 + i], ARGV[4], ARGV[13 + n + 2 * i], ARGV[6], ARGV[14 + n + 2 * i]) end
return 1

-- Claim alerts for groups, unless they have an owner, and return their owners.
-- KEYS: owners, ended owners
-- ARGV: seconds to keep, then for each alert its fingerprint, the group_id to claim it for ('': only read),
--       and the claim that this one replaces ('' for none)
-- Returns for each alert its claim `GROUP_ID TIME` ('' for none) and the age of that in ms.
-- A claim of the same group_id whose alert has ended is made anew.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer, is_changed = {}, false
for i = 2, #ARGV, 3 do
  local alert, group_id, former = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local claim, is_mine = false, false
  if group_id ~= '' then
    local mine = group_id .. ' ' .. string.format('%.0f', now)
    is_mine = redis.call('HSETNX', KEYS[1], alert, mine) == 1
    if not is_mine then
      claim = redis.call('HGET', KEYS[1], alert)
      local is_ended = claim:match('^[^ ]*') == group_id and redis.call('ZSCORE', KEYS[2], alert)
      if claim == former or is_ended then
        redis.call('HSET', KEYS[1], alert, mine)
        is_mine = true
      end
    end
    if is_mine then
      claim = mine
      redis.call('ZREM', KEYS[2], alert)
      is_changed = true
    end
  else
    claim = redis.call('HGET', KEYS[1], alert)
  end
  answer[#answer + 1] = claim or ''
  answer[#answer + 1] = claim and now - tonumber(claim:match('[^ ]*$')) or 0
end
if is_changed then
  for _, alert in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('HDEL', KEYS[1], alert)
    redis.call('ZREM', KEYS[2], alert)
  end
end
-- Extend the expiry also without a change: an alert may fire for very long.
if is_changed or redis.call('TTL', KEYS[1]) * 2 < tonumber(ARGV[1]) then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  redis.call('EXPIRE', KEYS[2], ARGV[1])
end
return answer

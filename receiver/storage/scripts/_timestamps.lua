-- Times as storage/script_clock.py writes them: `in SECONDS` is relative to Redis' own clock (TIME); any other
-- value is absolute.
local function timestamp(text)
  local seconds = string.match(text, '^in (.+)$')
  if not seconds then return text end
  local time = redis.call('TIME')
  return string.format('%.6f', time[1] + time[2] / 1000000 + seconds)
end
-- Return *score* in the form of *text*, whose absolute value is *now*.
local function timestamp_like(text, now, score)
  if string.sub(text, 1, 3) ~= 'in ' then return score end
  return string.format('in %.6f', score - now)
end
-- Enqueue *member* at *due*; an earlier due time is kept. Workers look into their queues twice a second: only what
-- is due before they do is published.
local function enqueue(key, member, due, channel, queue)
  redis.call('ZADD', key, 'LT', timestamp(due), member)
  if (tonumber(string.match(due, '^in (.+)$')) or 0) < 0.5 then redis.call('PUBLISH', channel, queue .. ' ' .. due) end
end

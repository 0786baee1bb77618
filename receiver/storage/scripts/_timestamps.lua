-- Moments as storage/timestamps.py writes them: `in SECONDS` counts from now by Redis' own clock (TIME), any other
-- one stands as it is.
local function moment(text)
  local seconds = string.match(text, '^in (.+)$')
  if not seconds then return text end
  local time = redis.call('TIME')
  return string.format('%.6f', time[1] + time[2] / 1000000 + seconds)
end
-- Return *score* as a moment of the same form as *now*, which stands for *text*.
local function moment_like(text, now, score)
  if string.sub(text, 1, 3) ~= 'in ' then return score end
  return string.format('in %.6f', score - now)
end

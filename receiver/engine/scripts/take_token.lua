-- Grant the caller a token if enough are left for it and the waiters before it; else return how long to wait.
-- KEYS: state, waiters (by priority), waiter deadlines, initial waiters (by priority)
-- ARGV: now, burst, rate, caller, priority, is it a first message or page?, seconds after which to ask
--       again, seconds of grace, tolerated step back of Redis' clock in seconds, seconds to keep
-- Returns the wait in seconds (0: granted), and the wait of a first message or page that came now, without
-- a pause.
local now, burst, rate, who, priority = tonumber(timestamp(ARGV[1])), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'until')
local tokens = math.min(burst, tonumber(state[1] or burst))
local at, paused = tonumber(state[2] or now), tonumber(state[3] or 0)
if now < at - tonumber(ARGV[9]) then
  -- The clock was set back: shift the pause by the same step; the waiters will ask again.
  if paused > 0 then paused = paused - (at - now) end
  at = now
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
end
local since = math.max(at, paused)
if now > since then tokens = math.min(burst, tokens + (now - since) * rate) end
at = math.max(at, now)
local function remove(member)
  for i = 2, 4 do redis.call('ZREM', KEYS[i], member) end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. string.format('%.6f', now), 'LIMIT', 0, 500)) do
  if member ~= who then remove(member) end
end
redis.call('ZADD', KEYS[2], 'LT', priority, who)
local position = redis.call('ZRANK', KEYS[2], who)
local pause = math.max(0, paused - now)
local wait = 0
if pause == 0 and position < math.floor(tokens + 1e-6) then
  tokens = tokens - 1
  remove(who)
else
  wait = pause + math.max(0, position + 1 - tokens) / rate
  -- A waiter keeps its place until it should have asked again. That time is short, and longer where many
  -- wait. Times are rounded to milliseconds, and 0 would mean granted.
  wait = math.max(0.001, math.min(wait, tonumber(ARGV[7]) + redis.call('ZCARD', KEYS[2]) / 100))
  redis.call('ZADD', KEYS[3], now + wait + tonumber(ARGV[8]), who)
  if ARGV[6] == '1' then redis.call('ZADD', KEYS[4], 'LT', priority, who) else redis.call('ZREM', KEYS[4], who) end
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'at', string.format('%.6f', at),
  'until', string.format('%.6f', paused))
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[10]) end
local initial_waiters = redis.call('ZCARD', KEYS[4])
local next_initial = math.max(0, initial_waiters + 1 - tokens) / rate
return {string.format('%.6f', wait), string.format('%.6f', next_initial)}

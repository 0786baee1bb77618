-- Grant no token before a given time; after it grant one, and then as many as the rate allows.
-- KEYS: state   ARGV: that time, seconds to keep
local state = redis.call('HMGET', KEYS[1], 'tokens', 'until')
local tokens, paused = tonumber(state[1] or 1), tonumber(state[2] or 0)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', math.min(1, tokens)))
local ends_at = timestamp(ARGV[1])
if tonumber(ends_at) > paused then redis.call('HSET', KEYS[1], 'until', ends_at) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1

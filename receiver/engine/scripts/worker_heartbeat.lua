-- Record a worker's heartbeat.
-- KEYS: workers   ARGV: now, worker, time before which other workers are dropped, seconds to keep
-- Returns Redis' own clock.
local now = timestamp(ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', timestamp(ARGV[3]))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return now

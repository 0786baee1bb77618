-- Save a notice and enqueue the task that posts it, once for each id, or once per period.
-- KEYS: state of this id, pending notices, work queue
-- ARGV: now, period in seconds after which the id may be posted again (0: never), seconds to keep the state,
--       its name, the packed notice, limit of pending notices, seconds to keep them, how many occurrences it
--       stands for, task, due at, wake channel, queue name
-- Returns 1 if saved, 0 if the id was saved before.
local at = redis.call('HGET', KEYS[1], 'at')
if at and (tonumber(ARGV[2]) == 0 or math.abs(ARGV[1] - at) < tonumber(ARGV[2])) then
  redis.call('HINCRBY', KEYS[1], 'more', ARGV[8])
  return 0
end
local more = redis.call('HGET', KEYS[1], 'more') or '0'
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'more', tonumber(ARGV[8]) - 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[2], ARGV[4], more .. ' ' .. ARGV[5])
else
  redis.call('HINCRBY', KEYS[2], '+', 1)
end
redis.call('EXPIRE', KEYS[2], ARGV[7])
enqueue(KEYS[3], ARGV[9], ARGV[10], ARGV[11], ARGV[12])
return 1

-- Lend incidents that are due to a worker.
-- KEYS: agenda, claims, owners   ARGV: now, end of the loan, worker, how many, latest end to believe
-- Returns the next moment to look ('' if none), then what was lent.
local now, count = ARGV[1], tonumber(ARGV[4])
local taken = {}
local function take(member)
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZADD', KEYS[2], ARGV[2], member)
  redis.call('HSET', KEYS[3], member, ARGV[3])
  taken[#taken + 1] = member
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, count)) do
  take(member)
end
-- A loan that ends too late to be true is of a worker whose clock was set back, or that is gone: a living
-- one has prolonged it since, by the clock as it is now.
if #taken < count then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[5], '+inf', 'LIMIT', 0, count - #taken)) do
    take(member)
  end
end
local lent = redis.call('ZCARD', KEYS[2])
local more = false
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, count + lent + 1)) do
  if not redis.call('ZSCORE', KEYS[2], member) then
    if #taken < count then take(member) else more = true end
  end
end
local moment = ''
if more then
  moment = now
else
  local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local ends = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  moment = ahead[2] or ''
  if ends[2] and (moment == '' or tonumber(ends[2]) < tonumber(moment)) then moment = ends[2] end
end
table.insert(taken, 1, moment)
return taken

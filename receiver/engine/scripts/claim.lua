-- Claim incidents that are due for a worker.
-- KEYS: leases, lease_owners, then the queues
-- ARGV: now, end of the lease, worker, how many, latest plausible end of a lease, then for each queue the
--       seconds that are added to its due times when sorting
-- Returns the time of the next claim ('' if none), then the leased incidents.
local now, ends_at, latest, count = timestamp(ARGV[1]), timestamp(ARGV[2]), timestamp(ARGV[5]), tonumber(ARGV[4])
local claimed = {}
local function lease(member)
  for i = 3, #KEYS do redis.call('ZREM', KEYS[i], member) end
  redis.call('ZADD', KEYS[1], ends_at, member)
  redis.call('HSET', KEYS[2], member, ARGV[3])
  claimed[#claimed + 1] = member
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, count)) do
  lease(member)
end
-- A lease that ends implausibly late was made before Redis' clock was set back, and its worker is gone: a
-- live worker would have renewed it by the present clock.
if #claimed < count then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf', 'LIMIT', 0, count - #claimed)) do
    lease(member)
  end
end
local leased = redis.call('ZCARD', KEYS[1])
local waiting = {}
for i = 3, #KEYS do
  local due = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'WITHSCORES', 'LIMIT', 0, count + leased + 1)
  for j = 1, #due, 2 do
    waiting[#waiting + 1] = {tonumber(due[j + 1]) + tonumber(ARGV[i + 3]), due[j]}
  end
end
table.sort(waiting, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
local more = false
for _, entry in ipairs(waiting) do
  if not redis.call('ZSCORE', KEYS[1], entry[2]) then
    if #claimed < count then lease(entry[2]) else more = true end
  end
end
local next_at = ''
local function update_next_at(found)
  if found[2] and (next_at == '' or tonumber(found[2]) < tonumber(next_at)) then next_at = found[2] end
end
if more then
  next_at = now
else
  for i = 3, #KEYS do
    update_next_at(redis.call('ZRANGEBYSCORE', KEYS[i], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
  end
  update_next_at(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES'))
end
table.insert(claimed, 1, next_at == '' and '' or timestamp_like(ARGV[1], now, next_at))
return claimed

-- Give an incident back, to be looked at again when it is due, or earlier if a change asked for it.
-- KEYS: claims, owners, then the agendas   ARGV: incident, worker, wake channel, then a moment and
--       a lane's name for each agenda (a moment of '' leaves that agenda as it is)
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
for i = 3, #KEYS do
  local due, lane = ARGV[4 + (i - 3) * 2], ARGV[5 + (i - 3) * 2]
  if due ~= '' then
    redis.call('ZADD', KEYS[i], 'LT', moment(due), ARGV[1])
    redis.call('PUBLISH', ARGV[3], lane .. ' ' .. due)
  end
end
return 1

-- Record by how much a process's clock is ahead of Redis', and return the recent records of all processes.
-- KEYS: clocks   ARGV: now, process ('' records nothing), its clock, seconds for which a record is valid
-- Returns names and records: `TIME AHEAD` each.
local now, good_s = tonumber(timestamp(ARGV[1])), tonumber(ARGV[4])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[2], string.format('%.6f %.6f', now, ARGV[3] - now))
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
local found = redis.call('HGETALL', KEYS[1])
local lately = {}
for i = 1, #found, 2 do
  local noted_at = tonumber(string.match(found[i + 1], '^%S+'))
  if math.abs(now - noted_at) <= good_s then
    lately[#lately + 1] = found[i]
    lately[#lately + 1] = found[i + 1]
  else
    redis.call('HDEL', KEYS[1], found[i])
  end
end
return lately

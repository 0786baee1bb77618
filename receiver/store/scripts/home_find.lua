-- Tell in which slots alerts are at home, and what these hold.
-- KEYS: homes, a group   ARGV: the alerts
-- Returns {{ALERT, SLOT, ...}, SLOT, version, head, ...}.
local homes, others = {}, {}
for i = 1, #ARGV, 200 do
  for k, home in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, i, math.min(i + 199, #ARGV)))) do
    if home then
      homes[#homes + 1] = ARGV[i + k - 1]
      homes[#homes + 1] = home
      others[home] = true
    end
  end
end
local answer, prefix = {homes}, KEYS[2]:match('^(.*:)')
for home in pairs(others) do
  local held = redis.call('HMGET', prefix .. home, 'v', 'head')
  answer[#answer + 1] = home
  answer[#answer + 1] = held[1] or '0'
  answer[#answer + 1] = held[2] or ''
end
return answer

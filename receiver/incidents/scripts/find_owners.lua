-- Find the groups that own alerts, and their incidents.
-- KEYS: owners, a group   ARGV: the alerts
-- Returns {{ALERT, GROUP_ID, ...}, GROUP_ID, version, head, ...}.
local owners, others = {}, {}
for i = 1, #ARGV, 200 do
  for k, owner in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, i, math.min(i + 199, #ARGV)))) do
    if owner then
      owners[#owners + 1] = ARGV[i + k - 1]
      owners[#owners + 1] = owner
      others[owner] = true
    end
  end
end
local answer, prefix = {owners}, KEYS[2]:match('^(.*:)')
for owner in pairs(others) do
  local stored = redis.call('HMGET', prefix .. owner, 'v', 'head')
  answer[#answer + 1] = owner
  answer[#answer + 1] = stored[1] or '0'
  answer[#answer + 1] = stored[2] or ''
end
return answer

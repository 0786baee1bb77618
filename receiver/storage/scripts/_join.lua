-- Run `scripts` in order and return their replies; none runs after one that fails or returns false.
-- KEYS: those of each script   ARGV: the numbers of keys and of arguments of each script, then their arguments
local function select_part(list, first, count)
  local part = {}
  for i = 1, count do part[i] = list[first + i] end
  return part
end
local replies, key, arg = {}, 0, 2 * #scripts
for i, run in ipairs(scripts) do
  local keys, args = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  replies[i] = run(select_part(KEYS, key, keys), select_part(ARGV, arg, args))
  if replies[i] == false then break end
  key, arg = key + keys, arg + args
end
return replies

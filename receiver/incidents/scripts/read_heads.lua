-- Read incidents for lists, each from its group's hash or, where the group has a newer one, from its own.
-- KEYS: a group, a past incident (of both only the prefix counts)
-- ARGV: 1 to leave out the alert states, number of delivery fields, those fields, then the incidents' IDs
-- Returns {head, delivery, ...} for each incident, or false for one that does not exist.
local latest, past = KEYS[1]:match('^(.*:)'), KEYS[2]:match('^(.*:)')
local is_brief, n = ARGV[1] == '1', tonumber(ARGV[2])
local fields, answer = {'id', 'head'}, {}
for i = 1, n do fields[2 + i] = ARGV[2 + i] end
for i = 3 + n, #ARGV do
  local id = ARGV[i]
  local stored = redis.call('HMGET', latest .. id:match('^[^-]*'), unpack(fields))
  if stored[1] ~= id then stored = redis.call('HMGET', past .. id, unpack(fields)) end
  local found = stored[1] and stored[2] and {stored[2]}
  if found then
    if is_brief then found[1] = stored[2]:sub(1, 4 + struct.unpack('>I4', stored[2])) end
    for k = 1, n do found[1 + k] = stored[2 + k] end
  end
  answer[#answer + 1] = found or false
end
return answer

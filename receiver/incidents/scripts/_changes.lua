-- Add an incident to its shard's log of changes. Its cap and its expiry are CHANGES_LIMIT and CHANGES_FOR_S of
-- storage/keys.py.
local function log_change(key, id)
  redis.call('XADD', key, 'MAXLEN', '~', 2000, '*', 'id', id)
  redis.call('EXPIRE', key, 86400)
end

-- Lists what this user may not do, as ACL rules that would allow it. It does none of it.
--
-- ARGV  1 the prefix of keys and channels    2 whether the caller is a relay, 1, or only the writer, 0
-- Redis does not say whether it is the command or what it is applied to. Where all that take a key are
-- forbidden, or all that take a channel, it is most likely that.
local name = ARGV[1] .. ':{rights}'
local keyed = {
  {'EVALSHA', 'x', '1', name}, {'HGET', name, 'f'}, {'HMGET', name, 'f'}, {'HSET', name, 'f', 'v'}, {'XRANGE', name, '-', '+'},
}
local channels, others = {{'SPUBLISH', name, 'm'}}, {}
if ARGV[2] == '1' then
  for _, call in ipairs({
    {'GET', name}, {'SET', name, 'v'}, {'DEL', name}, {'EXISTS', name}, {'PEXPIRE', name, '1'}, {'PTTL', name},
    {'HDEL', name, 'f'}, {'HGETALL', name}, {'HINCRBY', name, 'f', '1'}, {'HLEN', name}, {'HSCAN', name, '0'},
    {'XADD', name, '*', 'f', 'v'}, {'XLEN', name}, {'XREVRANGE', name, '+', '-'}, {'XTRIM', name, 'MAXLEN', '1'},
    {'XREAD', 'STREAMS', name, '0'}, {'TYPE', name}, {'HKEYS', name}, {'RENAME', name, name}, {'XINFO', 'STREAM', name},
  }) do keyed[#keyed + 1] = call end
  channels[2] = {'SSUBSCRIBE', name}
  others = {{'SUNSUBSCRIBE', name}, {'TIME'}}
end

local rules = {}
local function check(calls, all)
  local missing = {}
  for _, call in ipairs(calls) do
    if not redis.acl_check_cmd(unpack(call)) then missing[#missing + 1] = '+' .. string.lower(call[1]) end
  end
  if all and #missing == #calls then missing = {all} end
  for _, rule in ipairs(missing) do rules[#rules + 1] = rule end
end
check(keyed, '~' .. ARGV[1] .. ':*')
check(channels, '&' .. ARGV[1] .. ':*')
check(others)
return rules

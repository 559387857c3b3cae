-- Says where a room stands, and tells all nodes when Redis has lost something: what cannot be read
-- counts as lost.
--
-- KEYS  state, stream
-- ARGV  1 the last offset the caller has delivered, 0: none    2 its epoch, empty: none
--       3 the highest offset the store has, -1: it did not look    4 an epoch, for a new history
--       5 entries to return    6 ms after which an idle room is forgotten
--       7 the highest offset that was given, as far as the caller knows, 0: none
-- Returns the epoch, the last offset, entries of the stream, and which boots have unconfirmed
-- messages (boot, mark, ...; see mint.lua). If the epoch is the caller's, the entries are those from its
-- last offset on, inclusive, oldest first; otherwise the newest, newest first.
set_aside(KEYS[1], 'hash')
local lost = set_aside(KEYS[2], 'stream')
local s = redis.call('HMGET', KEYS[1], 'last', 'epoch')
local last, epoch = number(s[1]), s[2]
local known, floor = tonumber(ARGV[1]), tonumber(ARGV[3])
if not last and floor < 0 then return redis.error_reply('COLD the room is new, expired or lost') end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local knows = math.max(known, floor, tonumber(ARGV[7]), newest and id(newest) or 0)
if not last or knows > last then
  last, lost = math.max(last or 0, knows), true
elseif not readable(epoch) then
  lost = true
elseif known > 0 and known < last and epoch == ARGV[2] then
  lost = lost or lacks(KEYS[2], ARGV[1])
end
if lost then
  epoch = ARGV[4]
  local refused = redis.pcall('HSET', KEYS[1], 'last', text(last), 'epoch', epoch)
  if type(refused) ~= 'table' or not refused.err then
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
    redis.call('SPUBLISH', KEYS[1], 'E' .. epoch .. struct.pack('>I8', last))
  elseif ARGV[2] ~= '' and knows > 0 then
    return refused
  elseif ARGV[2] ~= '' then
    epoch = ARGV[2]
  end -- The epoch is the caller's alone: people may come in while Redis takes no writes.
end

local entries
if epoch == ARGV[2] then
  entries = redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[5])
else
  entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[5])
end
local marks = {}
local state = redis.call('HGETALL', KEYS[1])
for i = 1, #state, 2 do
  if string.sub(state[i], 1, 2) == 'o:' then
    marks[#marks + 1] = string.sub(state[i], 3)
    marks[#marks + 1] = state[i + 1]
  end
end
return {epoch, text(last), entries, marks}

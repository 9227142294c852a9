//! What has to be done to the log in one step, as scripts that run in Redis.
//!
//! `KEYS`: the log, and the hash of what instances say of themselves. Each begins by asking whether this is still the log of
//! that epoch, on the same server in the same role: 0, it is not. A server's replication id is another not only after it
//! followed another server, but also when it gets its first replica, or has had none for long: then the log lives on as another
//! epoch, for all at once.

use crate::shared::Prepared;

/// All of them.
#[derive(Debug)]
pub(super) struct LogScripts {
    pub(super) begin: Prepared,
    pub(super) append: Prepared,
    pub(super) renew: Prepared,
    pub(super) lines: Prepared,
    pub(super) remove: Prepared,
}

/// `name, replication id` (empty: any will do)
const SERVER: &str = "
local server = redis.call('INFO', 'replication')
if not string.find(server, 'role:master', 1, true) then
    return redis.error_reply('READONLY this server follows another')
end
if ARGV[2] ~= '' and string.match(server, 'master_replid:(%x+)') ~= ARGV[2] then return 0 end";

/// A log that has no entry is none: the last of them stays.
const NAME: &str = "
if redis.call('HGET', KEYS[2], 'name') ~= ARGV[1] or redis.call('XLEN', KEYS[1]) == 0 then return 0 end";

/// Keys live on for so long from now on, or longer. Not each second anew: that would be sent to all replicas.
const EXTEND: &str = "
local function extend(keep_for)
    for _, key in ipairs(KEYS) do
        if redis.call('PTTL', key) < keep_for - 60000 then redis.call('PEXPIRE', key, keep_for) end
    end
end";

/// The id of the last entry that ever was, and the time in milliseconds.
const LAST: &str = "
local function last()
    local stream = redis.call('XINFO', 'STREAM', KEYS[1])
    for at = 1, #stream, 2 do
        if stream[at] == 'last-generated-id' then return stream[at + 1] end
    end
end
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end";

/// `a name for a new one, replication id, keep_for, by, first event, name of one that is none any more`: its name, the id of its
/// last entry, and the secret. What is no log is made one.
const BEGIN: &str = "
local name, length = redis.pcall('HGET', KEYS[2], 'name'), redis.pcall('XLEN', KEYS[1])
if type(name) ~= 'string' or #name ~= #ARGV[1] or type(length) ~= 'number' or length == 0
    or name == ARGV[6] then
    redis.call('DEL', KEYS[1])
    if type(name) == 'table' then redis.call('DEL', KEYS[2]) end
    for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
        if string.sub(field, 1, 2) == 'i:' then redis.call('HDEL', KEYS[2], field) end
    end
    name = ARGV[1]
    redis.call('HSET', KEYS[2], 'name', name)
    local at = string.format('%.0f', now())
    redis.call('XADD', KEYS[1], '1-0', 'id', name, 'by', ARGV[4], 'at', at, 'event', ARGV[5])
end
extend(tonumber(ARGV[3]))
return { name, last(), redis.call('HGET', KEYS[2], 'secret') }";

/// `name, replication id, keep_for, length_max, age_max, by, (id, event)…`: 1. Of what is too old a few go each time, so that no
/// call takes long. The last entry stays.
const APPEND: &str = "
local position, at = tonumber(string.match(last(), '^%d+')), now()
local at_text = string.format('%.0f', at)
for n = 7, #ARGV, 2 do
    position = position + 1
    local id = string.format('%.0f-0', position)
    redis.call('XADD', KEYS[1], id, 'id', ARGV[n], 'by', ARGV[6], 'at', at_text, 'event', ARGV[n + 1])
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[4])
local first
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 16)) do
    local appended_at = 0
    for n = 1, #entry[2], 2 do
        if entry[2][n] == 'at' then appended_at = tonumber(entry[2][n + 1]) or 0 end
    end
    first = entry[1]
    if at - appended_at <= tonumber(ARGV[5]) then break end
end
redis.call('XTRIM', KEYS[1], 'MINID', first)
extend(tonumber(ARGV[3]))
return 1";

/// `name, replication id, keep_for, secret` (empty: any will do)`, field, line`: the id of the last entry, and all fields. 1: the
/// secret is another.
const RENEW: &str = "
if ARGV[4] ~= '' and redis.call('HGET', KEYS[2], 'secret') ~= ARGV[4] then return 1 end
redis.call('HSET', KEYS[2], ARGV[5], ARGV[6])
extend(tonumber(ARGV[3]))
return { last(), redis.call('HGETALL', KEYS[2]) }";

/// `name, replication id`: all fields.
const LINES: &str = "
return redis.call('HGETALL', KEYS[2])";

/// `name, replication id, (field, line)…`: 1.
const REMOVE: &str = "
for n = 3, #ARGV, 2 do
    if ARGV[n + 1] == '' or redis.call('HGET', KEYS[2], ARGV[n]) == ARGV[n + 1] then redis.call('HDEL', KEYS[2], ARGV[n]) end
end
return 1";

impl LogScripts {
    pub(super) fn new() -> Self {
        let of = |parts: &[&str]| Prepared::new([SERVER, &parts.concat()].concat());
        Self {
            begin: of(&[EXTEND, LAST, BEGIN]),
            append: of(&[NAME, EXTEND, LAST, APPEND]),
            renew: of(&[NAME, EXTEND, LAST, RENEW]),
            lines: of(&[NAME, LINES]),
            remove: of(&[NAME, REMOVE]),
        }
    }
}

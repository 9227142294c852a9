//! What has to be done in one step, as scripts that run in Redis. Each touches one key, so any of them may run in a cluster.
//!
//! `pcall` gives an error as a value: what lies under our name and is no text counts as nothing, as for all other commands.
//! A lease is one letter and a token: `0` nobody waits, `1` somebody does and wants to hear when it is given back.

use redis::{Cmd, Script, cmd};

/// A script, and what to call it by.
#[derive(Debug)]
pub(super) struct Prepared {
    text: &'static str,
    hash: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put: Prepared,
    pub(super) patch: Prepared,
    pub(super) agree: Prepared,
    pub(super) acquire: Prepared,
    pub(super) renew: Prepared,
    pub(super) release: Prepared,
}

/// `value, keep_for, from, to`: from one byte to the other, counted from zero, both inclusive, a value says when its answer was
/// asked for, in milliseconds. 0: what lies there was asked for later. By more than a minute none is that is worth anything:
/// its clock was wrong, or it is none of ours.
const PUT: &str = "
local have = redis.pcall('GETRANGE', KEYS[1], ARGV[3], ARGV[4])
local want = string.sub(ARGV[1], tonumber(ARGV[3]) + 1, tonumber(ARGV[4]) + 1)
if type(have) == 'string' and #have == 8 and #want == 8 then
    local there, mine = struct.unpack('<I8', have), struct.unpack('<I8', want)
    if there > mine and there - mine < 60000 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

/// `head, keep_for, from, to, asked_from, asked_to`: the two have to agree from one byte to the other, counted from zero, both
/// inclusive; one that was asked for later stays as it is.
const PATCH: &str = "
local have = redis.pcall('GETRANGE', KEYS[1], ARGV[3], ARGV[4])
local from, to = tonumber(ARGV[3]) + 1, tonumber(ARGV[4]) + 1
if type(have) ~= 'string' or #have ~= to - from + 1 then return 0 end
if have ~= string.sub(ARGV[1], from, to) then return 0 end
if redis.call('STRLEN', KEYS[1]) < #ARGV[1] then return 0 end
local there = struct.unpack('<I8', redis.call('GETRANGE', KEYS[1], ARGV[5], ARGV[6]))
local mine = struct.unpack('<I8', string.sub(ARGV[1], tonumber(ARGV[5]) + 1, tonumber(ARGV[6]) + 1))
if there > mine and there - mine < 60000 then return 1 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";

/// `mine, keep_for, whether there is one to replace, replaced`
const AGREE: &str = "
local have = redis.pcall('GET', KEYS[1])
if type(have) ~= 'string' or (ARGV[3] == '1' and have == ARGV[4]) then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return ARGV[1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return have";

/// `token, lease`: -1, it is ours; else for how many milliseconds it is another's.
const ACQUIRE: &str = "
local have = redis.pcall('GET', KEYS[1])
if type(have) == 'string' and #have == 17 and string.sub(have, 2) ~= ARGV[1] then
    local left = redis.call('PTTL', KEYS[1])
    if left > 0 then
        if string.sub(have, 1, 1) ~= '1' then redis.call('SETRANGE', KEYS[1], 0, '1') end
        return left
    end
end
if type(have) == 'string' and string.sub(have, 2) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return -1
end
redis.call('SET', KEYS[1], '0' .. ARGV[1], 'PX', ARGV[2])
return -1";

/// `token, lease`
const RENEW: &str = "
local have = redis.pcall('GET', KEYS[1])
if type(have) ~= 'string' or string.sub(have, 2) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// `token, channel, message`: where there is none any more, nobody knows whether somebody waits.
const RELEASE: &str = "
local have = redis.pcall('GET', KEYS[1])
if type(have) ~= 'string' then
    redis.call('PUBLISH', ARGV[2], ARGV[3])
    return 0
end
if string.sub(have, 2) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if string.sub(have, 1, 1) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1";

impl Prepared {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// The call by its hash, which fails where the script is not known.
    pub(super) fn by_hash(&self, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.hash, key, arguments)
    }

    /// The call with its text, after which it is known.
    pub(super) fn by_text(&self, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", self.text, key, arguments)
    }
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            put: Prepared::new(PUT),
            patch: Prepared::new(PATCH),
            agree: Prepared::new(AGREE),
            acquire: Prepared::new(ACQUIRE),
            renew: Prepared::new(RENEW),
            release: Prepared::new(RELEASE),
        }
    }
}

fn call(how: &str, what: &str, key: &[u8], arguments: &[&[u8]]) -> Cmd {
    let mut call = cmd(how);
    call.arg(what).arg(1).arg(key);
    for argument in arguments {
        call.arg(*argument);
    }
    call
}

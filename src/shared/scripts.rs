//! What has to be done in one step, as scripts that run in Redis. The keys of each lie in one slot, so any of them may run in a
//! cluster.
//!
//! `pcall` gives an error as a value: what lies under our name and is no text counts as nothing, as for all other commands.
//! A lease is one letter and a token: `0` nobody waits, `1` somebody does and wants to hear when it is given back.

use std::borrow::Cow;

use redis::{Cmd, RedisError, Script, ServerErrorKind, Value, cmd};

use super::connect::Connection;

/// A script, and what to call it by.
#[derive(Debug)]
pub(crate) struct Prepared {
    text: Cow<'static, str>,
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

/// Some times a script's text.
const SENT_TWICE_MAX: usize = 4096;

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

/// `mine, keep_for, whether there is one to replace, replaced`: it lies beside what the log's instances say of themselves, whose
/// time never gets shorter.
const AGREE: &str = "
local have = redis.pcall('HGET', KEYS[1], 'secret')
if type(have) == 'table' then redis.call('DEL', KEYS[1]) end
if type(have) ~= 'string' or (ARGV[3] == '1' and have == ARGV[4]) then
    have = ARGV[1]
    redis.call('HSET', KEYS[1], 'secret', have)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
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
    /// Of this text.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// What it comes to. Where it is not known it is sent whole, and is known from then on. With large values it is sent whole at
    /// once: they need not be sent twice.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Value, RedisError> {
        let by_text = || call("EVAL", &self.text, keys, arguments);
        if arguments.iter().any(|argument| argument.len() > SENT_TWICE_MAX) {
            return connection.query(&by_text()).await;
        }
        match connection.query(&call("EVALSHA", &self.hash, keys, arguments)).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                connection.query(&by_text()).await
            }
            replied => replied,
        }
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

fn call(how: &str, what: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut call = cmd(how);
    call.arg(what).arg(keys.len());
    for part in keys.iter().chain(arguments) {
        call.arg(*part);
    }
    call
}

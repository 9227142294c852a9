//! What an error of the driver means: for who asked, and for the connection it came over.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::standing::Sign;
use super::tier::TierError;

/// Of a text that may be of any length.
const WORDS_MAX: usize = 200;

/// What a script may not do is refused in words, not by a code; in others since Redis 7.2.
const FORBIDDEN_IN_SCRIPTS: [&str; 2] =
    ["ACL failure in script", "The user executing the script can't run this command"];

/// Refusals that are told apart, and what each says of who refuses.
const KINDS: [(&str, Sign); 17] = [
    // The memory is full: it can't keep more, and what it has can be read.
    ("OOM", Sign::Answered),
    // Something that is not ours lies under our name.
    ("WRONGTYPE", Sign::Answered),
    // The access control list forbids it.
    ("NOPERM", Sign::Answered),
    ("CROSSSLOT", Sign::Answered),
    // It may not write, for it can't save or has no replicas.
    ("MISCONF", Sign::Answered),
    ("NOREPLICAS", Sign::Answered),
    ("NOSCRIPT", Sign::Answered),
    ("EXECABORT", Sign::Answered),
    ("READONLY", Sign::ReadOnly),
    // The password was changed or is wrong.
    ("NOAUTH", Sign::Failed),
    ("WRONGPASS", Sign::Failed),
    ("LOADING", Sign::Failed),
    ("BUSY", Sign::Failed),
    ("CLUSTERDOWN", Sign::Failed),
    ("MASTERDOWN", Sign::Failed),
    ("TRYAGAIN", Sign::Failed),
    // A slot that lies elsewhere, and the driver could not find out where in time.
    ("MOVED", Sign::Failed),
];

/// What who asked is told, and what it says of the connection. A cluster's connection is many: one of them that broke does not
/// speak for all.
pub(super) fn read(error: &RedisError, is_cluster: bool) -> (TierError, Sign) {
    if error.is_timeout() {
        return (TierError::TimedOut, Sign::Failed);
    }
    let is_forbidden = |detail: &str| FORBIDDEN_IN_SCRIPTS.iter().any(|words| detail.contains(words));
    if error.detail().is_some_and(is_forbidden) {
        return (TierError::Refused("NOPERM"), Sign::Answered);
    }
    if let Some(code) = error.code() {
        return match KINDS.iter().find(|(kind, _)| *kind == code) {
            Some((kind, sign)) => (TierError::Refused(kind), *sign),
            None if code == "ASK" => (TierError::Refused("ASK"), Sign::Failed),
            None => (TierError::Refused("ERR"), Sign::Answered),
        };
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => (TierError::Refused("WRONGPASS"), Sign::Failed),
        ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::UnexpectedReturnType => {
            (TierError::Refused("ERR"), Sign::Answered)
        }
        _ if is_cluster => (TierError::Broken, Sign::Failed),
        _ => (TierError::Broken, Sign::Broken),
    }
}

/// What is said of it, in words that may be shown. A server that does not know a command repeats what came with it, which may be a
/// password, or a value of ours.
pub(super) fn words(error: &RedisError) -> String {
    let text = match error.code() {
        Some(code) => format!("{code} {}", error.detail().unwrap_or_default()),
        None => error.to_string(),
    };
    let text = text.split("with args").next().unwrap_or_default();
    // `NOAUTH` is a code.
    let repeated = text.match_indices("AUTH ").map(|(at, _)| at).find(|at| !text[..*at].ends_with("NO"));
    let shown = match repeated {
        Some(at) if !text[at..].starts_with("AUTH <password>") => &text[..at],
        _ => text,
    };
    let shown: String = shown.chars().filter(|letter| !letter.is_control()).take(WORDS_MAX).collect();
    shown.trim_end_matches([' ', ',']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> RedisError {
        redis::parse_redis_value(line.as_bytes()).and_then(redis::Value::extract_error).unwrap_err()
    }

    #[test]
    fn what_a_server_says_is_told_apart() {
        for (line, kind, sign) in [
            ("-OOM command not allowed\r\n", "OOM", Sign::Answered),
            ("-WRONGTYPE Operation against\r\n", "WRONGTYPE", Sign::Answered),
            ("-READONLY You can't write\r\n", "READONLY", Sign::ReadOnly),
            ("-NOAUTH Authentication required.\r\n", "NOAUTH", Sign::Failed),
            ("-LOADING Redis is loading\r\n", "LOADING", Sign::Failed),
            ("-CLUSTERDOWN Hash slot not served\r\n", "CLUSTERDOWN", Sign::Failed),
            ("-MOVED 3999 127.0.0.1:6381\r\n", "MOVED", Sign::Failed),
            ("-ASK 3999 127.0.0.1:6381\r\n", "ASK", Sign::Failed),
            ("-NOPERM this user has no permissions\r\n", "NOPERM", Sign::Answered),
            ("-ERR ACL failure in script: User shop has no\r\n", "NOPERM", Sign::Answered),
            ("-ERR The user executing the script can't run this command or\r\n", "NOPERM", Sign::Answered),
            ("-ERR unknown command\r\n", "ERR", Sign::Answered),
            ("-WHATEVER\r\n", "ERR", Sign::Answered),
        ] {
            assert_eq!(read(&refused(line), false), (TierError::Refused(kind), sign), "{line}");
        }
    }

    #[test]
    fn what_a_server_repeats_is_not_shown() {
        for (line, shown) in [
            ("-NOPERM User shop has no permissions to run the 'set' command\r\n".to_owned(), 60),
            (
                "-ERR unknown command `HELLO`, with args beginning with: `3` `AUTH` `shop` `acorn`\r\n"
                    .to_owned(),
                27,
            ),
            ("-ERR what is HELLO 3 AUTH default acorn\r\n".to_owned(), 19),
            ("-ERR AUTH <password> called without any password configured\r\n".to_owned(), 58),
            ("-ERR unknown command 'AUTH', with args beginning with: 'acorn' \r\n".to_owned(), 26),
            (format!("-ERR {}acorn\r\n", "long ".repeat(100)), 200),
            ("-NOAUTH Authentication required.\r\n".to_owned(), 31),
            ("-WHATEVER\r\n".to_owned(), 8),
        ] {
            let words = words(&refused(&line));
            assert!(line[1..].starts_with(&words) && !words.contains("acorn"), "{words}");
            assert_eq!(words.len(), shown, "{words}");
        }
    }

    #[test]
    fn a_connection_that_broke_is_no_refusal() {
        use std::io::{Error, ErrorKind};
        let broken = RedisError::from(Error::from(ErrorKind::BrokenPipe));
        assert_eq!(read(&broken, false), (TierError::Broken, Sign::Broken));
        assert_eq!(read(&broken, true), (TierError::Broken, Sign::Failed));
        let slow = RedisError::from(Error::from(ErrorKind::TimedOut));
        assert_eq!(read(&slow, false), (TierError::TimedOut, Sign::Failed));
    }
}

//! The commands worth trying, as a script: every line is a comment or a command that can be run as it stands.
//!
//! So the whole of it can be pasted, or piped to `sh`, and a test does exactly that. It needs `curl` and nothing else.

use std::fmt::Write as _;

use crate::app::Addresses;

/// What is printed when the demo is up. `program` is how this very program is called in a shell.
pub(super) fn guide(addresses: &Addresses, program: &str) -> String {
    let base = format!("http://{}", addresses.listen);
    let mut text = format!(
        r#"# Larder is up at {base}, before an API that takes 20 to 120 ms for each answer.
# Paste these into another terminal, one after the other.

# Log in as two people. Logins are never cached: they pass through.
ADA=$(curl -s {base}/api/login -d '{{"user":"ada"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
GRACE=$(curl -s {base}/api/login -d '{{"user":"grace"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')

# Fetch a user twice: first "fwd=uri-miss; … stored" after 40 ms, then "hit", with the same "served" number.
curl -si {base}/api/users/1 -H "authorization: Bearer $ADA"
curl -si {base}/api/users/1 -H "authorization: Bearer $ADA"

# Grace gets her own answer, not the one that was stored for Ada: see "seen_by".
curl -si {base}/api/users/1 -H "authorization: Bearer $GRACE"

# HEAD is answered from the stored GET.
curl -sI {base}/api/users/1 -H "authorization: Bearer $ADA"

# A client may insist on a new answer: "served" goes up.
curl -si {base}/api/users/1 -H "authorization: Bearer $ADA" -H "cache-control: no-cache"

# The list of projects takes 120 ms, once; then it takes none.
curl -s -o /dev/null -w '%{{time_total}} s\n' {base}/api/projects -H "authorization: Bearer $ADA"
curl -s -o /dev/null -w '%{{time_total}} s\n' {base}/api/projects -H "authorization: Bearer $ADA"

# The status of a server is the same for everybody: one entry, no token.
curl -si {base}/api/servers/3/status
curl -si {base}/api/servers/3/status
"#
    );
    if let Some(admin) = addresses.admin {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            r#"
# What Larder has done so far, and what it holds for that first request.
curl -s http://{admin}/stats
curl -s http://{admin}/metrics
{program} explain --admin http://{admin} GET {base}/api/users/1 -H "authorization: Bearer $ADA"
"#
        );
    }
    text.push_str("\n# Ctrl-C in this terminal stops it all.\n");
    text
}

/// A word as a shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(admin: bool) -> Addresses {
        Addresses {
            listen: ([127, 0, 0, 1], 18080).into(),
            admin: admin.then(|| ([127, 0, 0, 1], 18081).into()),
        }
    }

    #[test]
    fn every_line_is_a_comment_or_a_command() {
        for line in guide(&addresses(true), "larder").lines().filter(|line| !line.is_empty()) {
            let known = ["# ", "curl ", "larder ", "ADA=$(curl ", "GRACE=$(curl "];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line}");
        }
    }

    #[test]
    fn a_shell_can_read_it() {
        let script = guide(&addresses(true), &quoted("/a path/it's/larder"));
        let status = std::process::Command::new("sh").args(["-n", "-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
    }

    #[test]
    fn without_an_admin_listener_nothing_is_said_of_it() {
        let script = guide(&addresses(false), "larder");
        assert!(!script.contains("18081") && !script.contains("--admin"), "{script}");
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_would_misread_them() {
        for (word, wanted) in [
            ("/usr/bin/larder", "/usr/bin/larder"),
            ("/a path/larder", "'/a path/larder'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), wanted);
        }
    }
}

//! What the demo API knows: users, projects, servers, and who has logged in.
//!
//! All of it is in memory and of fixed size, so no traffic makes it grow: the users there are can be renamed, and each
//! of the few who may log in has one token, drawn when the API starts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// Everything the demo API answers from.
pub(super) struct Records {
    /// User 1 is the first of them.
    names: Mutex<Vec<String>>,
    /// Who may log in, and the token each gets.
    tokens: Vec<(&'static str, String)>,
}

/// Users 1 to 100, projects 1 to 50, servers 1 to 20.
const USERS: usize = 100;
const PROJECTS: usize = 50;
const SERVERS: usize = 20;
/// Those who may log in; they are also the first users.
const LOGINS: [&str; 3] = ["ada", "grace", "linus"];
/// Of a user's name.
const NAME_BYTES_MAX: usize = 200;

impl Records {
    /// The records as they are when the API starts.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let name =
            |place: usize| LOGINS.get(place).map_or_else(|| format!("user {}", place + 1), |n| (*n).into());
        let mut tokens = Vec::with_capacity(LOGINS.len());
        for login in LOGINS {
            let mut random = [0; 16];
            getrandom::fill(&mut random)?;
            tokens.push((login, format!("{:032x}", u128::from_ne_bytes(random))));
        }
        Ok(Self { names: Mutex::new((0..USERS).map(name).collect()), tokens })
    }

    /// The token of one who may log in.
    pub(super) fn log_in(&self, login: &str) -> Option<&str> {
        self.tokens.iter().find(|(name, _)| *name == login).map(|(_, token)| token.as_str())
    }

    /// Whose token this is.
    pub(super) fn bearer(&self, token: &str) -> Option<&'static str> {
        self.tokens.iter().find(|(_, known)| known == token).map(|(name, _)| *name)
    }

    /// One user.
    pub(super) fn user(&self, id: &str) -> Option<Value> {
        let place = place(id, USERS)?;
        let name = self.names().get(place)?.clone();
        Some(json!({ "id": place + 1, "name": name, "plan": if place % 3 == 0 { "team" } else { "free" } }))
    }

    /// Gives a user another name; `None` if there is no such user, `Some(false)` if the name won't do.
    pub(super) fn rename(&self, id: &str, name: Option<&str>) -> Option<bool> {
        let place = place(id, USERS)?;
        let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX) else {
            return Some(false);
        };
        name.clone_into(self.names().get_mut(place)?);
        Some(true)
    }

    /// One project.
    pub(super) fn project(id: &str) -> Option<Value> {
        place(id, PROJECTS).map(project_at)
    }

    /// All of them.
    pub(super) fn projects() -> Value {
        (0..PROJECTS).map(project_at).collect()
    }

    /// How a server is.
    pub(super) fn server(id: &str) -> Option<Value> {
        let place = place(id, SERVERS)?;
        let state = if place % 7 == 6 { "degraded" } else { "up" };
        Some(json!({ "id": place + 1, "state": state, "load": place * 4 % 100 }))
    }

    /// Nothing is left half done under this lock, so a poisoned one is as good as any.
    fn names(&self) -> MutexGuard<'_, Vec<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn project_at(place: usize) -> Value {
    json!({ "id": place + 1, "name": format!("project {}", place + 1), "owner": place % USERS + 1 })
}

/// `"1"` is the first of so many.
fn place(id: &str, count: usize) -> Option<usize> {
    let place = id.parse::<usize>().ok()?.checked_sub(1)?;
    (place < count).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_at_one_and_end() {
        let records = Records::new().unwrap();
        for (id, there) in
            [("1", true), ("100", true), ("0", false), ("101", false), ("x", false), ("", false)]
        {
            assert_eq!(records.user(id).is_some(), there, "{id:?}");
        }
        assert!(Records::project("51").is_none());
        assert!(Records::server("21").is_none());
    }

    #[test]
    fn a_token_names_whom_it_was_given_to_and_nobody_else() {
        let records = Records::new().unwrap();
        for login in LOGINS {
            let token = records.log_in(login).unwrap();
            assert_eq!(records.bearer(token), Some(login));
        }
        assert_ne!(records.log_in("ada"), records.log_in("grace"));
        assert_eq!(records.log_in("mallory"), None);
        assert_eq!(records.bearer(""), None);
    }

    #[test]
    fn a_user_keeps_the_new_name_unless_it_is_empty_or_too_long() {
        let records = Records::new().unwrap();
        assert_eq!(records.rename("1", Some("Ada Lovelace")), Some(true));
        assert_eq!(records.rename("1", Some("")), Some(false));
        assert_eq!(records.rename("1", Some(&"x".repeat(NAME_BYTES_MAX + 1))), Some(false));
        assert_eq!(records.rename("1", None), Some(false));
        assert_eq!(records.rename("0", Some("nobody")), None);
        assert_eq!(records.user("1").unwrap()["name"], "Ada Lovelace");
    }
}

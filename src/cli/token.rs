//! The token of an admin listener: typed, or better in the environment, where no other user can see it.

use http::HeaderValue;

use super::asked;
use super::failure::Failure;

/// Where it may stand.
const VARIABLE: &str = "LARDER_ADMIN_TOKEN";

/// What was typed, or what the environment has.
pub(super) fn token(typed: Option<&HeaderValue>) -> Result<Option<HeaderValue>, Failure> {
    if let Some(typed) = typed {
        return Ok(Some(typed.clone()));
    }
    match std::env::var(VARIABLE) {
        Ok(token) if !token.is_empty() => asked::bearer(&token).map(Some).map_err(Failure::Token),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::Token(error.to_string())),
    }
}

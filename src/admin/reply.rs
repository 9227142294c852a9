//! How an answer is put together: JSON for people and programs, and a body that is read within bounds.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use crate::problem::problem;

/// From its first byte to its last.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The body of a request, or what is answered in its place.
pub(super) async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, Response<Bytes>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
{
    match timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("a body of more than {bytes_max} bytes is not read here");
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &detail))
        }
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// With line breaks, since people read it with curl.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let Ok(mut text) = serde_json::to_vec_pretty(body) else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "this can't be put into JSON");
    };
    text.push(b'\n');
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    with(response, CONTENT_TYPE, "application/json")
}

pub(super) fn with(mut response: Response<Bytes>, name: HeaderName, value: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

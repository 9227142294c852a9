//! What went wrong on the way to the upstream, and whether the same request may be tried again.
//!
//! The causes are those that someone treats differently: the gate's are ours (503), the deadlines' are time-outs (504),
//! the client's own body is the client's fault (408, 400), the rest is a broken upstream (502).

use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// As many wait as may.
    #[error("the queue for the upstream is full")]
    QueueFull,
    /// Waited in the queue for too long.
    #[error("waited {} ms in the queue for the upstream", .0.as_millis())]
    QueueTimeout(Duration),
    /// No connection in time: DNS, TCP and TLS together.
    #[error("no connection to the upstream within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// Nobody listens there.
    #[error("the upstream refused the connection")]
    Refused,
    /// No connection, for another reason.
    #[error("could not connect to the upstream")]
    Connect,
    /// TLS could not be agreed on, or its certificate is not trusted.
    #[error("TLS with the upstream failed")]
    Tls,
    /// Connected and sent, but no head in time.
    #[error("no response head from the upstream within {} ms", .0.as_millis())]
    ResponseTimeout(Duration),
    /// The connection ended before the head had come.
    #[error("the upstream closed the connection before it answered")]
    BrokenOff,
    /// What came was not HTTP.
    #[error("the upstream's answer is not valid HTTP")]
    Malformed,
    /// The client sent nothing more of its request's body.
    #[error("the client was silent for {} ms inside its request", .0.as_millis())]
    ClientSilent(Duration),
    /// The client broke off, or framed its body wrongly.
    #[error("the request's body broke off")]
    ClientBroke,
    /// The task that fetched was ended with the process.
    #[error("the fetch was abandoned")]
    Abandoned,
}

impl UpstreamError {
    /// Whether the request can't have been acted on, or is of a kind that may be repeated; the caller also knows the
    /// method. Time-outs are not repeated: the upstream is slow already.
    pub fn may_retry(self) -> bool {
        matches!(self, Self::Refused | Self::Connect | Self::BrokenOff)
    }

    /// Whether the upstream may have acted on the request, or on a beginning of it.
    pub fn may_have_arrived(self) -> bool {
        !matches!(
            self,
            Self::QueueFull
                | Self::QueueTimeout(_)
                | Self::ConnectTimeout(_)
                | Self::Refused
                | Self::Connect
                | Self::Tls
        )
    }
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing more came.
    #[error("the upstream was silent for {} ms inside its answer", .0.as_millis())]
    Silent(Duration),
    /// The connection ended, or the framing was wrong.
    #[error("the upstream broke off its answer")]
    BrokenOff,
    /// The client took nothing for so long that others were held up.
    #[error("the client was too slow")]
    ReaderTooSlow,
    /// The task that fetched was ended with the process.
    #[error("the fetch was abandoned")]
    Abandoned,
}

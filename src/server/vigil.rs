//! When a connection has had its time: a head that does not come, silence between requests, an answer nobody takes.
//!
//! `Vigil` is told now and then how a connection stands and since when; it knows no clock and no socket. Bodies of requests
//! have their own bound where they are read.

use std::time::Duration;

use tokio::time::Instant;

use super::Limits;
use super::io::Pulse;

/// What has been seen of one connection.
#[derive(Debug)]
pub struct Vigil {
    last: Pulse,
    state: State,
    /// Since when it has been in that state without a change.
    since: Instant,
    /// Some of an answer went out since the last look.
    is_writing: bool,
}

/// More than pings and their like come to between two looks, and less than any answer.
const CHATTER_BYTES: u64 = 512;

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    LetBe,
    /// Between requests for too long: it may be told to close, and go.
    Idle,
    /// Within something for too long: it goes as it is.
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between requests.
    Idle,
    /// Some of a head has come, but not all.
    Head,
    /// Being answered, and the client takes it as fast as it comes.
    Answering,
    /// Being answered, and the client takes nothing.
    Blocked,
}

impl Vigil {
    /// From now on.
    pub fn new(now: Instant) -> Self {
        Self { last: Pulse::default(), state: State::Idle, since: now, is_writing: false }
    }

    /// How it stands now, an `interval` after the last time. `whole_heads`: the protocol is one where bytes between requests can
    /// only be a head (HTTP/1).
    pub fn judge(&mut self, pulse: Pulse, now: Instant, limits: &Limits, whole_heads: bool) -> Judgement {
        let state = state(&pulse, whole_heads);
        self.is_writing = pulse.written_bytes.saturating_sub(self.last.written_bytes) > CHATTER_BYTES;
        let moved = match state {
            // On HTTP/2 an answer that is all given to the protocol may still be on its way.
            State::Idle | State::Answering => {
                pulse.begun != self.last.begun || self.is_writing || state != self.state
            }
            // More bytes of the same head do not make it come in time: trickling is what slow attackers do.
            State::Head => state != self.state || pulse.begun != self.last.begun,
            State::Blocked => state != self.state || pulse.written_bytes != self.last.written_bytes,
        };
        if moved {
            self.since = now;
        }
        self.state = state;
        self.last = pulse;
        let lasted = now.duration_since(self.since);
        match state {
            // On HTTP/2, where one answer can stand still while others move.
            _ if interval(limits).saturating_mul(pulse.untaken_ticks) >= limits.body_timeout => {
                Judgement::Stuck
            }
            State::Idle if lasted >= limits.idle_timeout => Judgement::Idle,
            State::Head if lasted >= limits.header_timeout => Judgement::Stuck,
            State::Blocked if lasted >= limits.body_timeout => Judgement::Stuck,
            _ => Judgement::LetBe,
        }
    }

    /// Nothing was under way at the last look, nor on its way out.
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Idle && !self.is_writing
    }
}

/// How often to look: often enough that no limit is overrun by more than a quarter.
pub fn interval(limits: &Limits) -> Duration {
    let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.body_timeout);
    (shortest / 4).clamp(Duration::from_millis(25), Duration::from_secs(5))
}

fn state(pulse: &Pulse, whole_heads: bool) -> State {
    if pulse.write_blocked {
        State::Blocked
    } else if pulse.active > 0 {
        State::Answering
    } else if whole_heads && pulse.read_bytes != pulse.read_at_begin {
        State::Head
    } else {
        State::Idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        streams_max: 1,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(30),
    };

    /// The seconds after which a connection that stays as it is goes, and how.
    fn goes(pulse: Pulse) -> Option<(u64, Judgement)> {
        let start = Instant::now();
        let mut vigil = Vigil::new(start);
        (0..100).find_map(|second| {
            let judgement = vigil.judge(pulse, start + Duration::from_secs(second), &LIMITS, true);
            (judgement != Judgement::LetBe).then_some((second, judgement))
        })
    }

    #[test]
    fn each_state_has_its_own_limit() {
        let idle = Pulse { begun: 1, read_bytes: 90, read_at_begin: 90, ..Pulse::default() };
        let cases = [
            (idle, Some((60, Judgement::Idle))),
            (Pulse { read_bytes: 93, ..idle }, Some((10, Judgement::Stuck))),
            (Pulse { active: 1, ..idle }, None),
            (Pulse { active: 1, write_blocked: true, ..idle }, Some((30, Judgement::Stuck))),
            (Pulse { active: 1, untaken_ticks: 11, ..idle }, None),
            (Pulse { active: 1, untaken_ticks: 12, ..idle }, Some((0, Judgement::Stuck))),
        ];
        for (pulse, expected) in cases {
            assert_eq!(goes(pulse), expected, "{pulse:?}");
        }
    }

    #[test]
    fn a_head_that_trickles_is_not_given_more_time() {
        let start = Instant::now();
        let mut vigil = Vigil::new(start);
        let judgements: Vec<_> = (0..12)
            .map(|second| {
                let pulse = Pulse { read_bytes: second + 1, ..Pulse::default() };
                vigil.judge(pulse, start + Duration::from_secs(second), &LIMITS, true)
            })
            .collect();
        assert_eq!(judgements.iter().position(|each| *each == Judgement::Stuck), Some(10));
    }

    #[test]
    fn an_answer_that_moves_is_not_stuck() {
        let start = Instant::now();
        let mut vigil = Vigil::new(start);
        for second in 0..200 {
            let pulse = Pulse { active: 1, write_blocked: true, written_bytes: second, ..Pulse::default() };
            let judgement = vigil.judge(pulse, start + Duration::from_secs(second), &LIMITS, true);
            assert_eq!(judgement, Judgement::LetBe);
        }
    }
}

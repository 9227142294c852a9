//! `Messages`: the messages of hooks that are in the log, so that one that comes again does nothing.
//!
//! Bounded: two generations, of which the older is forgotten when the younger is full. What is forgotten and comes again
//! invalidates once more, which harms nobody.

use std::collections::HashMap;

/// Digest of a message → the position of the event that it made.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

/// Of a generation. A sender repeats a message within days; one that sends a message a second is remembered for half a day.
const GENERATION_MAX: usize = 50_000;

impl Messages {
    pub(super) fn saw(&mut self, message: u64, position: u64) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(message, position);
    }

    pub(super) fn position(&self, message: u64) -> Option<u64> {
        self.young.get(&message).or_else(|| self.old.get(&message)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_of_a_message_is_told() {
        let mut messages = Messages::default();
        assert_eq!(messages.position(7), None);
        messages.saw(7, 1);
        messages.saw(8, 2);
        messages.saw(7, 3);
        assert_eq!((messages.position(7), messages.position(8)), (Some(3), Some(2)));
    }

    #[test]
    fn one_generation_at_least_is_remembered_and_two_at_most() {
        let mut messages = Messages::default();
        let generation = GENERATION_MAX as u64;
        for message in 0..3 * generation {
            messages.saw(message, message + 1);
            assert!(messages.young.len() + messages.old.len() <= 2 * GENERATION_MAX);
            let remembered = message.saturating_sub(generation - 1);
            assert_eq!(messages.position(remembered), Some(remembered + 1));
        }
        assert_eq!(messages.position(generation - 1), None);
        // What was forgotten and comes again is remembered anew.
        messages.saw(0, 9);
        assert_eq!(messages.position(0), Some(9));
    }

    #[test]
    fn what_comes_again_stands_where_it_came_last() {
        let mut messages = Messages::default();
        for message in 0..=GENERATION_MAX as u64 {
            messages.saw(message, 1);
        }
        messages.saw(0, 2);
        assert_eq!(messages.position(0), Some(2));
    }
}

//! Rules left out or turned round, one at a time: the search must find what each of them costs.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// An entry is stamped when its answer is here.
    StampedAfterTheFetch,
    /// Whoever comes joins what is under way.
    JoiningUnchecked,
    /// Only the names that the request tells are held against what was learnt since.
    LandingUnchecked,
    /// What comes from the shared tier is stamped anew.
    PromotionRestamps,
    /// What goes to the shared tier is stamped when it is written.
    WrittenRestamped,
    /// What was trimmed away named nothing.
    GapIgnored,
    /// Another log is read on from where the one before was left, and no entry is dead for that.
    EpochNotEntered,
    /// A lease counts from when the answer is here.
    LeaseFromTheReply,
    /// A renewal that arrives when the lease is over brings it back.
    LateRenewalTrusted,
    /// Lines that were asked for before the event was in the log count.
    LinesBeforeTheAppend,
    /// Lines count whatever log they lie beside.
    LinesWithoutEpoch,
    /// The log is read to its end, and then the line is written.
    LineAfterTheLog,
    /// Memory is believed as soon as the line is there.
    TrustedBeforeTheEnd,
    /// A line says how far the log goes, not how far it was applied.
    LineAhead,
    /// A line in another epoch says how far the one before was applied.
    LineOfTheEpochBefore,
    /// Whoever has just met an epoch acknowledges at once.
    NoGrace,
    /// A timer takes the trust away.
    FlagForAClock,
    /// Memory is looked at first, and then whether it may be believed.
    TrustAskedLast,
    /// What is declared is applied when it is read, and acknowledged when it is appended.
    OwnNotApplied,
    /// Who is dead is counted from when lines were asked for to when they came.
    DeadTooSoon,
    /// A dead line is taken away though it was written anew.
    RemovedUncompared,
    /// An answer to a change is kept if nothing else named its URI.
    PutWatchedByUri,
}

impl Mutation {
    pub const ALL: [Self; 22] = [
        Self::StampedAfterTheFetch,
        Self::JoiningUnchecked,
        Self::LandingUnchecked,
        Self::PromotionRestamps,
        Self::WrittenRestamped,
        Self::GapIgnored,
        Self::EpochNotEntered,
        Self::LeaseFromTheReply,
        Self::LateRenewalTrusted,
        Self::LinesBeforeTheAppend,
        Self::LinesWithoutEpoch,
        Self::LineAfterTheLog,
        Self::TrustedBeforeTheEnd,
        Self::LineAhead,
        Self::LineOfTheEpochBefore,
        Self::NoGrace,
        Self::FlagForAClock,
        Self::TrustAskedLast,
        Self::OwnNotApplied,
        Self::DeadTooSoon,
        Self::RemovedUncompared,
        Self::PutWatchedByUri,
    ];
}

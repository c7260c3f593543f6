//! What goes into the ledger and comes out of it.

use thiserror::Error;

use super::period::Window;
use crate::money::Nanodollars;

/// Names an open scope until it is evicted; another scope never gets the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub(super) u64);

impl ScopeId {
    /// The handle that [`Self::get`] gave.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// As a number, less than 2⁵⁶.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Names a hold; another hold never gets the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub(super) u64);

impl HoldId {
    /// The id that [`Self::get`] gave.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// As a number, less than 2⁶².
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An amount for each scope of a call.
#[derive(Debug, Clone, Copy)]
pub enum Amounts<'a> {
    /// The same for all.
    Same(Nanodollars),
    /// One for each, in the order of the scopes that the hold was made with.
    Each(&'a [Nanodollars]),
}

impl Amounts<'_> {
    /// The amount of the scope at a place.
    pub(super) fn get(&self, place: usize) -> Option<Nanodollars> {
        match self {
            Self::Same(amount) => Some(*amount),
            Self::Each(amounts) => amounts.get(place).copied(),
        }
    }

    /// Whether it has an amount for each of so many scopes.
    pub(super) fn fits(&self, scopes: usize) -> Result<(), LedgerError> {
        match self {
            Self::Each(amounts) if amounts.len() != scopes => Err(LedgerError::AmountCount {
                expected: scopes,
                given: amounts.len(),
            }),
            _ => Ok(()),
        }
    }
}

/// A window and its limit, `None` when it is only counted.
pub type Limit = (Window, Option<Nanodollars>);

/// What is known of a scope when it is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening<'a> {
    /// What each window has spent in its current period already; missing ones have spent nothing.
    pub spent: &'a [Nanodollars],
    /// What the scope has spent in its life.
    pub total: Nanodollars,
    /// What it may have spent and held over its life, `None` when nobody grants.
    pub grant: Option<Nanodollars>,
}

/// A scope's name, shared.
#[derive(Debug, PartialEq, Eq)]
pub struct ScopeName {
    text: Box<str>,
    kind: usize,
}

impl ScopeName {
    pub(super) fn new(kind: &str, name: &str) -> Self {
        Self {
            text: [kind, name].concat().into_boxed_str(),
            kind: kind.len(),
        }
    }

    /// `user`, `tier` and the like.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text.get(..self.kind).unwrap_or_default()
    }

    /// Which of its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(self.kind..).unwrap_or_default()
    }
}

/// How one window of a scope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowStanding {
    /// Which window.
    pub window: Window,
    /// Its limit, `None` when spending is only counted.
    pub limit: Option<Nanodollars>,
    /// What was settled of the holds that belong to the period.
    pub spent: Nanodollars,
    /// What is held by them.
    pub held: Nanodollars,
    /// When the period began, or the oldest bucket that counts; Unix milliseconds.
    pub starts_ms: Option<i64>,
    /// When it ends, or the oldest bucket with spending falls out; Unix milliseconds.
    pub resets_ms: Option<i64>,
}

/// Why a reservation was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A window is full: the one that resets last if there are several.
    Limit(WindowStanding),
    /// The scope's grant is used up.
    Grant {
        /// What must be granted in all for the request to fit.
        needed: Nanodollars,
    },
    /// The scope was evicted: open it again.
    Stale,
}

/// A reservation that was not made; nothing was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The scope that refused.
    pub scope: ScopeId,
    /// What was asked of it.
    pub requested: Nanodollars,
    /// Why.
    pub cause: Cause,
}

/// What became of a request for a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// It is held on all scopes.
    Held(HoldId),
    /// Nothing is held.
    Refused(Refusal),
}

/// How a hold ended, or had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was open and is settled now.
    Settled,
    /// It was open and is released now.
    Released,
    /// It had expired; what it was booked at is now this.
    Corrected,
    /// It had ended before; nothing changed.
    Already,
}

impl Outcome {
    /// `settled`, `released`, `corrected` or `already`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Corrected => "corrected",
            Self::Already => "already",
        }
    }
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What happened.
    pub outcome: Outcome,
    /// The largest part's amount that is booked now; `None` with [`Outcome::Already`], since a hold
    /// that has ended is not kept.
    pub booked: Option<Nanodollars>,
    /// By how much a part was booked above what it held, at most.
    pub overrun: Nanodollars,
}

/// A scope that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// Its name.
    pub name: std::sync::Arc<ScopeName>,
    /// What it had spent in its life.
    pub total: Nanodollars,
}

/// A call that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// No scope has this handle, or none has it any more.
    #[error("the scope is not open: it was evicted or never opened; open it again")]
    UnknownScope,
    /// No hold was ever given this id.
    #[error("there is no such hold")]
    UnknownHold,
    /// A hold on nothing.
    #[error("a hold needs at least one scope")]
    NoScopes,
    /// More scopes than a hold has room for.
    #[error("a hold can be on {} scopes at most", super::MAX_SCOPES)]
    TooManyScopes,
    /// The same scope twice in a call.
    #[error("a scope can be named only once in a call")]
    RepeatedScope,
    /// Not one amount for each scope.
    #[error("one amount for each of the {expected} scopes is needed, not {given}")]
    AmountCount {
        /// How many scopes.
        expected: usize,
        /// How many amounts.
        given: usize,
    },
    /// The same window twice among a scope's limits.
    #[error("a window can have only one limit")]
    RepeatedWindow,
    /// More windows than a scope has room for.
    #[error("a scope can have {} windows at most", super::books::MAX_WINDOWS)]
    TooManyWindows,
    /// An amount that the scope's account cannot hold.
    #[error("the amount is larger than can be accounted for (about 4.6 billion US dollars)")]
    TooLarge,
    /// The table is full.
    #[error("too many scopes are open, or too many holds: end or evict some")]
    Full,
    /// The hold has ended.
    #[error("the hold is open no more")]
    HoldEnded,
}

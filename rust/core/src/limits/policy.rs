//! What an account may: its limits, and what is wrong with them.

use thiserror::Error;

use super::flow::Rate;

/// The largest limit of requests, burst, and number of leases.
pub const MAX_LIMIT: u64 = 1_000_000_000;

/// The largest limit of tokens, and the most tokens of a request.
pub const MAX_TOKENS: u64 = 1_000_000_000_000_000;

/// The most accounts of a request.
pub const MAX_ACCOUNTS: usize = 8;

/// The last instant: 146 years. What is later counts as this one.
pub const LATEST_NS: u64 = (1 << 62) - 1;

/// How many times its limit a minute's burst may be, so that no account is full for over 100 years.
const MAX_BURSTS: u64 = 50_000_000;

/// Which limit of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitName {
    /// Requests a second, with a burst.
    PerSecond,
    /// Requests a minute, with a burst.
    PerMinute,
    /// Requests in any 3,600 seconds.
    PerHour,
    /// Requests in any 86,400 seconds.
    PerDay,
    /// Tokens in any 60 seconds.
    TokensPerMinute,
    /// Requests at once.
    Concurrent,
}

impl LimitName {
    /// Its name in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::PerMinute => "per_minute",
            Self::PerHour => "per_hour",
            Self::PerDay => "per_day",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::Concurrent => "concurrent",
        }
    }
}

/// What was asked for and cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// A limit above [`MAX_LIMIT`], or of tokens above [`MAX_TOKENS`].
    #[error("{limit} is at most {most}, not {given}", limit = limit.name())]
    LimitTooLarge {
        /// Which.
        limit: LimitName,
        /// What it may be.
        most: u64,
        /// What was given.
        given: u64,
    },
    /// A burst above [`MAX_LIMIT`], or one that takes more than 50,000,000 minutes to be over.
    #[error(
        "a burst is at most {MAX_LIMIT}, and in a minute {MAX_BURSTS} times its limit: {given} for {limit} is not",
        limit = limit.name()
    )]
    BurstTooLarge {
        /// Of which limit.
        limit: LimitName,
        /// What was given.
        given: u64,
    },
    /// A request on no account.
    #[error("a request needs at least one account")]
    NoAccounts,
    /// A request on more than [`MAX_ACCOUNTS`].
    #[error("a request has at most {MAX_ACCOUNTS} accounts")]
    TooManyAccounts,
    /// An account that was named twice.
    #[error("a request names an account once")]
    RepeatedAccount,
    /// More than [`MAX_TOKENS`].
    #[error("a request has at most {MAX_TOKENS} tokens, not {0}")]
    TooManyTokens(u64),
}

/// The limits of a [`Policy`], as they are given. `None` is no limit, 0 is a limit of none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests a second, and how many may come at once beyond the one that is due.
    pub per_second: Option<(u64, u64)>,
    /// Requests a minute, likewise.
    pub per_minute: Option<(u64, u64)>,
    /// Requests in any 3,600 seconds.
    pub per_hour: Option<u64>,
    /// Requests in any 86,400 seconds.
    pub per_day: Option<u64>,
    /// Tokens in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Requests at once.
    pub concurrent: Option<u64>,
}

/// How often an account may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub(super) second: Option<Rate>,
    pub(super) minute: Option<Rate>,
    pub(super) hour: Option<u32>,
    pub(super) day: Option<u32>,
    pub(super) tokens: Option<u64>,
    pub(super) concurrent: Option<u32>,
}

impl Policy {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        second: None,
        minute: None,
        hour: None,
        day: None,
        tokens: None,
        concurrent: None,
    };

    /// A policy of these limits.
    ///
    /// # Errors
    ///
    /// [`LimitError::LimitTooLarge`], [`LimitError::BurstTooLarge`].
    pub fn new(limits: &Limits) -> Result<Self, LimitError> {
        let tokens = limits.tokens_per_minute;
        if let Some(given) = tokens.filter(|&tokens| tokens > MAX_TOKENS) {
            return Err(LimitError::LimitTooLarge {
                limit: LimitName::TokensPerMinute,
                most: MAX_TOKENS,
                given,
            });
        }
        Ok(Self {
            second: rate(LimitName::PerSecond, limits.per_second)?,
            minute: rate(LimitName::PerMinute, limits.per_minute)?,
            hour: count(LimitName::PerHour, limits.per_hour)?,
            day: count(LimitName::PerDay, limits.per_day)?,
            tokens,
            concurrent: count(LimitName::Concurrent, limits.concurrent)?,
        })
    }
}

fn count(limit: LimitName, given: Option<u64>) -> Result<Option<u32>, LimitError> {
    let check = |given| match u32::try_from(given) {
        Ok(number) if given <= MAX_LIMIT => Ok(number),
        _ => Err(LimitError::LimitTooLarge {
            limit,
            most: MAX_LIMIT,
            given,
        }),
    };
    given.map(check).transpose()
}

fn rate(limit: LimitName, given: Option<(u64, u64)>) -> Result<Option<Rate>, LimitError> {
    let Some((requests, burst)) = given else {
        return Ok(None);
    };
    let Some(number) = count(limit, Some(requests))? else {
        return Ok(None);
    };
    let most = match limit {
        LimitName::PerMinute if number > 0 => MAX_LIMIT.min(requests * MAX_BURSTS),
        _ => MAX_LIMIT,
    };
    match u32::try_from(burst) {
        Ok(burst) if u64::from(burst) <= most => Ok(Some(Rate {
            limit: number,
            burst,
        })),
        _ => Err(LimitError::BurstTooLarge {
            limit,
            given: burst,
        }),
    }
}

//! What requests and standings are answered with.

use std::sync::Arc;

use super::account::Account;
use super::permit::Permit;
use super::policy::LimitName;
use super::state::{Full, Wait};

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It passed.
    Passed(Permit),
    /// It did not, and nothing was counted.
    Refused(Refusal),
}

/// Why a request did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the limits that refused, whose takes longest.
    pub account: String,
    /// Which limit that is.
    pub limit: LimitName,
    /// What it allows.
    pub allowed: u64,
    /// What was asked of it.
    pub requested: u64,
    /// In how many nanoseconds it would pass if nobody else came, over all limits of all accounts;
    /// `None` when a lease must end first, or when it never would.
    pub retry_ns: Option<u64>,
    /// Whether it would never pass.
    pub permanent: bool,
    /// Every account of which some limit refused.
    pub blocked: Vec<String>,
}

/// How one limit of one account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub account: Arc<str>,
    /// Which.
    pub limit: LimitName,
    /// How many it allows.
    pub allowed: u64,
    /// How many would pass now, with the burst.
    pub remaining: u64,
    /// In how many nanoseconds nothing of it is used any more, if nobody comes; `None` of leases.
    pub reset_ns: Option<u64>,
}

/// Gathers what refuses.
#[derive(Default)]
pub(super) struct Refusing<'names> {
    worst: Option<(Full, &'names str)>,
    blocked: Vec<&'names str>,
}

impl<'names> Refusing<'names> {
    pub(super) fn see(&mut self, account: &'names str, full: Full) {
        if self.blocked.last() != Some(&account) {
            self.blocked.push(account);
        }
        if self.worst.is_none_or(|(worst, _)| worst.wait < full.wait) {
            self.worst = Some((full, account));
        }
    }

    pub(super) fn refusal(self) -> Option<Refusal> {
        let (full, account) = self.worst?;
        Some(Refusal {
            account: account.to_owned(),
            limit: full.limit,
            allowed: full.allowed,
            requested: full.requested,
            retry_ns: match full.wait {
                Wait::For(ns) => Some(ns),
                Wait::Lease | Wait::Never => None,
            },
            permanent: full.wait == Wait::Never,
            blocked: self.blocked.into_iter().map(str::to_owned).collect(),
        })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Account")
            .field(&self.name())
            .finish()
    }
}

//! Budgets that cannot be overspent: scopes, their windows, and holds on them.

use std::sync::Arc;

use self::period::Window;
pub use self::types::{
    Amounts, Cause, Evicted, HoldId, LedgerError, Opening, Outcome, Refusal, Reservation, ScopeId,
    ScopeName, Settlement, WindowStanding,
};
use crate::money::Nanodollars;

pub mod period;
mod types;

/// The most scopes that a hold can be on.
pub const MAX_SCOPES: usize = 64;

/// A window and its limit, `None` when it is only counted.
pub type Limit = (Window, Option<Nanodollars>);

/// Scopes, their windows, and holds on them. All-or-nothing, lock-free, never over.
pub struct Ledger {
    late_ms: i64,
}

#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::needless_pass_by_value,
    unused_variables,
    reason = "the signatures first"
)]
impl Ledger {
    #[must_use]
    pub fn new(late_ms: i64) -> Self {
        Self { late_ms }
    }
    pub fn open_scope(
        &self,
        kind: &str,
        name: &str,
        limits: &[Limit],
        now_ms: i64,
        opening: &Opening<'_>,
    ) -> Result<ScopeId, LedgerError> {
        Err(LedgerError::Full)
    }
    #[must_use]
    pub fn find_scope(&self, kind: &str, name: &str) -> Option<ScopeId> {
        None
    }
    pub fn scope_name(&self, scope: ScopeId) -> Result<Arc<ScopeName>, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn set_limits(
        &self,
        scope: ScopeId,
        limits: &[Limit],
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn set_grant(&self, scope: ScopeId, grant: Option<Nanodollars>) -> Result<(), LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn reserve(
        &self,
        scopes: &[ScopeId],
        amounts: Amounts<'_>,
        now_ms: i64,
        deadline_ms: i64,
        key: Option<u128>,
        force: bool,
    ) -> Result<Reservation, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn extend(
        &self,
        hold: HoldId,
        amounts: Amounts<'_>,
        now_ms: i64,
        force: bool,
    ) -> Result<Option<Refusal>, LedgerError> {
        Err(LedgerError::Full)
    }
    #[must_use]
    pub fn renew(&self, hold: HoldId, deadline_ms: i64) -> bool {
        false
    }
    pub fn settle(
        &self,
        hold: HoldId,
        actual: Amounts<'_>,
        now_ms: i64,
    ) -> Result<Settlement, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn release(&self, hold: HoldId, now_ms: i64) -> Result<Settlement, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn expire(&self, now_ms: i64) -> Vec<HoldId> {
        Vec::new()
    }
    pub fn adjust(&self, scope: ScopeId, amount: i64, now_ms: i64) -> Result<i64, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn standing(
        &self,
        scope: ScopeId,
        now_ms: i64,
    ) -> Result<Vec<WindowStanding>, LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn total(&self, scope: ScopeId) -> Result<(Nanodollars, Nanodollars), LedgerError> {
        Err(LedgerError::Full)
    }
    pub fn held_amounts(&self, hold: HoldId) -> Result<Vec<(ScopeId, Nanodollars)>, LedgerError> {
        Err(LedgerError::Full)
    }
    #[must_use]
    pub fn scopes(&self) -> Vec<ScopeId> {
        Vec::new()
    }
    #[must_use]
    pub fn open_holds(&self) -> usize {
        0
    }
    pub fn evict(&self, now_ms: i64, idle_ms: i64) -> Vec<Evicted> {
        Vec::new()
    }
}

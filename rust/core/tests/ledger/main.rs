//! The ledger beside a slow and obvious one, and under threads.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod behaviour;
mod model;
mod sequential;
mod threads;

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{Amounts, HoldId, Ledger, Limit, Opening, Reservation, ScopeId};
use cascadeflow_core::money::Nanodollars;

/// 2026-09-21 14:13:20 UTC, a Monday.
pub(crate) const NOW: i64 = 1_790_000_000_000;
pub(crate) const DAY: i64 = 86_400_000;

pub(crate) fn nano(amount: u64) -> Nanodollars {
    Nanodollars::new(amount).unwrap()
}

pub(crate) fn same(amount: u64) -> Amounts<'static> {
    Amounts::Same(nano(amount))
}

pub(crate) fn open(ledger: &Ledger, name: &str, limits: &[Limit]) -> ScopeId {
    ledger
        .open_scope("user", name, limits, NOW, &Opening::default())
        .unwrap()
}

pub(crate) fn of_day(limit: u64) -> [Limit; 1] {
    [(Window::day("UTC").unwrap(), Some(nano(limit)))]
}

pub(crate) fn of_total(limit: u64) -> [Limit; 1] {
    [(Window::total(), Some(nano(limit)))]
}

/// Reserves for a minute.
pub(crate) fn reserve(
    ledger: &Ledger,
    scopes: &[ScopeId],
    amount: u64,
    now: i64,
) -> Option<HoldId> {
    let reserved = ledger
        .reserve(scopes, same(amount), now, now + 60_000, None, false)
        .unwrap();
    match reserved {
        Reservation::Held(hold) => Some(hold),
        Reservation::Refused(_) => None,
    }
}

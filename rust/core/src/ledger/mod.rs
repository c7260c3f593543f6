//! Budgets that cannot be overspent: scopes, their windows, and holds on them.

pub mod period;

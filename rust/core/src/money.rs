//! Integer nanodollars.

//! How hard a request is.

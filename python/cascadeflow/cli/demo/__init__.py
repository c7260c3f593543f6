"""The demo: short questions, a real small model that drafts, a labelled simulated verifier."""

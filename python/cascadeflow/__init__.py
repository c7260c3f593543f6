"""Answers every LLM request with the cheapest model that is good enough, and never overspends."""

from __future__ import annotations

from cascadeflow._native import DEBUG_BUILD, __version__

__all__ = ["__version__"]

if DEBUG_BUILD:
    import warnings

    warnings.warn(
        "cascadeflow._native is a debug build: every figure it gives is slow. Build with --release.",
        RuntimeWarning,
        stacklevel=2,
    )

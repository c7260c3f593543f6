"""For your own tests: a clock turned by hand, recorded and replayed HTTP, a simulated provider."""

from __future__ import annotations

from cascadeflow.testing.clock import ManualClock

__all__ = ["ManualClock"]

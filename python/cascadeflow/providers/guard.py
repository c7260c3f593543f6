"""The switch that forbids real requests, which stands on the ground floor."""

from __future__ import annotations

from cascadeflow.guard import (
    ENVIRONMENT_VARIABLE,
    allow_real_requests,
    check_request,
    forbid_real_requests,
    host_of,
    is_loopback,
)

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "allow_real_requests",
    "check_request",
    "forbid_real_requests",
    "host_of",
    "is_loopback",
]

"""For your own tests: a clock turned by hand, recorded and replayed HTTP, a simulated provider."""

from __future__ import annotations

from cascadeflow.providers.guard import allow_real_requests, forbid_real_requests
from cascadeflow.testing.clock import ManualClock
from cascadeflow.testing.journal import SimulatedRequest, SimulatedStats
from cascadeflow.testing.model import LogNormalLatency, SimulatedModel
from cascadeflow.testing.process import SimulatorProcess, start_in_process
from cascadeflow.testing.provider import SimulatedProvider
from cascadeflow.testing.recorded import RecordedAnswer, RecordedAnswersProvider
from cascadeflow.testing.recording import CannedResponse, Exchange, RecordingTransport
from cascadeflow.testing.replay import ReplayTransport

__all__ = [
    "CannedResponse",
    "Exchange",
    "LogNormalLatency",
    "ManualClock",
    "RecordedAnswer",
    "RecordedAnswersProvider",
    "RecordingTransport",
    "ReplayTransport",
    "SimulatedModel",
    "SimulatedProvider",
    "SimulatedRequest",
    "SimulatedStats",
    "SimulatorProcess",
    "allow_real_requests",
    "forbid_real_requests",
    "start_in_process",
]

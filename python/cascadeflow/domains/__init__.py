"""What a request is about and how hard it is."""

from __future__ import annotations

from cascadeflow.domains.complexity import Complexity, ComplexityLevel, assess

__all__ = ["Complexity", "ComplexityLevel", "assess"]

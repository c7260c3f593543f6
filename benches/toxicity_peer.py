"""Scores texts with alt-profanity-check; run by `quality_peers.py` in an environment of its own.

Reads a JSON list of texts from standard input, writes its version and the list of their scores.
"""

import importlib.metadata
import json
import sys

from profanity_check import predict_prob  # type: ignore[import-not-found]

json.dump(
    {
        "version": importlib.metadata.version("alt-profanity-check"),
        "scores": [float(score) for score in predict_prob(json.load(sys.stdin))],
    },
    sys.stdout,
)

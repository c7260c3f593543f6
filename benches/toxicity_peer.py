"""Scores texts with alt-profanity-check, in an environment of its own; see `quality_sets.py`.

Reads a JSON list of texts from standard input, writes the list of their scores.
"""

import json
import sys

from profanity_check import predict_prob

json.dump([float(score) for score in predict_prob(json.load(sys.stdin))], sys.stdout)

"""Tuning: weights and a threshold fitted to one's own log, with a promise of the quality kept."""

"""Replay: recorded answers of real models run through the pipeline, judged beside the baselines."""

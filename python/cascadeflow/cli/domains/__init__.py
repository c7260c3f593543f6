"""Domains: what a request can be about, and how well the detector finds it out."""

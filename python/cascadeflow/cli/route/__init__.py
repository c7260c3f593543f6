"""Route: one decision explained, from the request to the models and the expected cost."""

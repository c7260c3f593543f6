"""User tiers: which models, how much, how often; enforced before anything is sent."""

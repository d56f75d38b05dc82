"""From a resolution to a running job: plan first, act last."""

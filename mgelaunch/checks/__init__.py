"""Findings about a whole resolution: settings together, and settings held against target and host."""

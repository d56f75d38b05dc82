"""Layers to resolution: what every place says of every variable, and who wins."""

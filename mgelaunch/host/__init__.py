"""What this host has."""

"""Reads scripts, profiles and ``.env`` files without running them: settings made too late, wrongly, or for nobody."""

"""What the engine of a cluster has made of this process, and how it is asked to start more."""

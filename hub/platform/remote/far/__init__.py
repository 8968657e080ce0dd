"""The far side: an adapter's own process beside its department's system."""

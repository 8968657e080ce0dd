"""Adapters and their instances: routes, what they say, callbacks of departments, trials, keys of adapters elsewhere."""

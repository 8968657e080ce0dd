"""Adapters and their instances: routes, their answers, callbacks of departments, trials, keys of adapters elsewhere."""

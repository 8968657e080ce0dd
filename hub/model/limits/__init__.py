"""Limits with their ladder 时限: a part that an aggregate holds. Pure.

Owns the limits' state, events, commands, rules and what their events change; suspension and extension belong here.
"""

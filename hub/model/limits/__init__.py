"""Limits with their ladder 时限: a part that an aggregate holds. Pure.

Owns the limits' state, events, commands, rules and the effect of their events on the state. Suspension and extension belong here.
"""

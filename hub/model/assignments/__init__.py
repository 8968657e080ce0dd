"""Assignments with their deliveries 派单与投递: a part that an aggregate holds. Pure.

Owns their state, events, commands, rules and what their events change. Assignments have limits, so the part stands on `limits`.
"""

"""The spine: how a matter moves. It imports no platform and no surface."""

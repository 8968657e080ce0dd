"""Open311 GeoReport v2 at /open311: any client of that standard reports to the hub and follows its case.

errors, formats: how it speaks; asking: how it reads; catalogue: services and their questions; reporting and updating: what changes a
case; reading and showing: what is given out; server: the routes. Imports nothing of the hub's stages; called by hub/surfaces/api/app.py.
"""

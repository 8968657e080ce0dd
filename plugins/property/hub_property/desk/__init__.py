"""The property desk: a small phone page for companies that have no system of their own, and the interface the hub files orders with.

Its own process with its own state: `python -m hub_property.desk --port 8700 --data DIR`. Never imports the hub.
"""

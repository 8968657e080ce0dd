"""The desk: a small phone page for units that have no system of their own, and the interface the hub files orders with.

Its own process with its own state: `python -m hub_page.desk --port 8700 --data DIR`. Nothing here imports the hub.
"""

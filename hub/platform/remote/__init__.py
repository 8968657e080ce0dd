"""Adapters that run elsewhere: beside the department, or in a worker process of the hub's.

protocol: the messages; orders, answers, credentials, workers: the hub's side; far: the other side (`python -m hub.platform.remote.far`). A
department's own program may replace the other side: docs/protocol/.
"""

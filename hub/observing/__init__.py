"""What the hub lets be seen of itself: spans, traces, metrics, logs."""

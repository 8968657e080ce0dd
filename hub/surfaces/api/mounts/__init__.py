"""Plugins' own routes: mounting puts them beside the API, reception is what the hub lets them do, published finds what they may read."""

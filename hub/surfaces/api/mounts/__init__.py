"""Plugins' own routes. mounting puts them beside the API; reception gives them their rights in the hub; published finds readable cases."""

"""Measuring the hub; nothing in it is needed to run one."""

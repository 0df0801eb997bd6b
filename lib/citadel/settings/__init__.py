"""Citadel.conf: the table, the file, the values."""

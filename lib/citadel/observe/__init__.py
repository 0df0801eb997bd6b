"""Asks the host; no judgement."""

"""Performs one step."""

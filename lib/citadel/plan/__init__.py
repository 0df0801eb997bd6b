"""Findings and history to steps; pure."""

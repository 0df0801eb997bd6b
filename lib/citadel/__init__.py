"""Citadel keeps a systemd service alive on a host that nobody watches."""

__version__ = "1.0.0"

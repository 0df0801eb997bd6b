"""Facts to findings; pure."""

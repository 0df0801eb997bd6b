"""install.py's rooms: what goes where (layout), how it gets there (tree), what was put there (manifest)."""

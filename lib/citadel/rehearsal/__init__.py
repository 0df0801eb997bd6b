"""The throwaway host: boot a copy of this one, install Citadel into it, break it, tell what happened."""

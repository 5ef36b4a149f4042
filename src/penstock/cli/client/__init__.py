"""The gateway as the commands reach it."""

"""Commands that use models and run work."""

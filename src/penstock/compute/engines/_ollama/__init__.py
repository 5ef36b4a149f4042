"""Ollama's own API: its bodies and replies."""

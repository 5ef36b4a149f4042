"""Who may use this installation: organisations, their keys and people, join tokens, and the first start."""

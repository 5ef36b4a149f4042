"""What makes tokens, and how a gateway reaches it."""

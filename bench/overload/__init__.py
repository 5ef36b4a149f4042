"""What a real gateway with real workers does when it is asked for ten times what they can do."""

"""Commands that show what is, was or would be."""

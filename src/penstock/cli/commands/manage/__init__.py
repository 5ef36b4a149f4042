"""Commands that an administrator changes things with."""

"""Who may pass, and what is around every answer."""

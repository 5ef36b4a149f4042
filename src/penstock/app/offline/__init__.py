"""What is done to an installation while no gateway serves it: migrate, back up, restore, reset."""

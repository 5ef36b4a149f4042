"""Work that must not be lost, as rules; where it is kept is behind ports."""

"""Work that must not be lost, as rules: what may be submitted, when it is tried again, when a schedule fires, on whose behalf it runs."""

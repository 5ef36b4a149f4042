"""What every wing may use: families and their members, compiled modules, lean imports, identities, profiles, stop signals, moments."""

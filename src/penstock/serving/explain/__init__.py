"""Why a request went where it went: what was decided is kept as it happens, and put into words on demand."""

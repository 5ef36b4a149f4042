"""The gateway's API for programs: `penstock.Client`, `penstock.AsyncClient`, and what the CLI shares with them."""

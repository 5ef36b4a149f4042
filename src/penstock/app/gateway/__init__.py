"""The gateway process, assembled: every room introduced to the others, and what runs beside the traffic."""

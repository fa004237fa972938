"""The attacks of the catalogue, mounted on real processes: each with its guard left out, and with it in place."""

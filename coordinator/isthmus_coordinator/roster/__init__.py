"""Who takes part: joining by a token, certificates, being taken off again."""

"""Who is who, and what was said: identity keys, certificates, join tokens, signed documents, the roster."""

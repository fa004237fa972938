"""The one port: nodes and analysts come in over mutual TLS, and every call and message is looked at."""

"""What site IT sees: checks, health, logs, and word to the service manager."""

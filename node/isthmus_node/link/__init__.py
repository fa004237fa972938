"""The way out: dial the coordinator, stay attached, send what the journal holds. Nothing here listens."""

"""What the coordinator remembers: SQLite by default, PostgreSQL by URL; every change of shape is a migration."""

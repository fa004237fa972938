"""The store's shape, one step a file; brought up to date at every start."""

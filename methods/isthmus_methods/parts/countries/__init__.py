"""Countries' own estimates: how each is made, how they are combined and compared."""

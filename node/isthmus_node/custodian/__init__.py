"""What the custodian decides, and how the node knows that it was the custodian."""

"""What the bench trains: nothing is learned, so that only the exchange is measured."""

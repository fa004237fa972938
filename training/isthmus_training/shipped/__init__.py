"""The client apps that come with isthmus."""

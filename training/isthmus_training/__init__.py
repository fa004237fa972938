"""The training of models: what node and coordinator share, and the one module that knows Flower's inside."""

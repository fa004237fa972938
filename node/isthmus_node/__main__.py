"""``python -m isthmus_node``: the same as the command `isthmus-node`."""

from isthmus_node.cli import main

main()

"""Does isthmus give R's numbers? Runs reference cases through real nodes and compares, key by key: `make reference`."""

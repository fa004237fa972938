"""The commands of `isthmus-node`, by whom they are for: site IT, the custodian, everybody who wants to see."""

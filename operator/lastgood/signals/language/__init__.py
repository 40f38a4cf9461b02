"""The part of CEL that an expression may use: read, bounded and evaluated here, so that it has one meaning.

The text becomes a tree. From the tree come the fields that it reads, and the function that evaluates it and counts what
that costs.
"""

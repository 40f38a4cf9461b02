"""The part of CEL that an expression may use, read closely enough to bound what evaluating it costs.

The `cel` package evaluates; it has no cost limit and lets Infinity through. So an expression is parsed here
as well, and what the evaluator sees is written out again from this tree: no text reaches it that was not
understood here.
"""

"""Measurements beside other libraries; each module prints a table of its own:
`python -m benchmarks.accuracy`.
"""

"""Measurements, always as ratios within one run: `make bench`, or `python -m bench --quick`.

Every measured thing runs in a process of its own, fed over loopback by another one; what is compared takes
turns, several rounds, and the best round counts (in `isolation` the median). docs/performance.md explains
the numbers.
"""

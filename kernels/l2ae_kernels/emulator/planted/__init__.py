"""Faults planted in small kernels, to show which tool catches which; see cases.py."""

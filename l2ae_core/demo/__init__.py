"""The paper's method from end to end on the embedded digits, in about a minute: run.py."""

"""A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that.

Several tests send Ctrl-C to processes of their own: these hear it wherever pytest was started.
"""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

"""Which signals stop a process of ours."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, and SIGINT unless this process was started with it ignored.

    A shell without job control starts what stands before `&` with SIGINT ignored, so that Ctrl-C stops only what runs in the foreground.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGINT)

"""What a process has started is found, whichever of its threads did it, and whether that still runs."""

import os
import subprocess
import threading

from tdbwatch.testing.processes import children


def test_it_is_found_while_the_thread_that_started_it_ends():
    started = []
    try:
        for _ in range(20):
            threading.Thread(target=lambda: started.append(subprocess.Popen(["sleep", "60"]))).start()
            while not started:
                pass
            seen = [children(os.getpid()).get(started[0].pid) for _ in range(3)]
            assert seen == ["sleep"] * 3
            started[0].kill()
            started.pop().wait()
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_one_that_ended_is_found_until_it_was_waited_for():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.pid in children(os.getpid())
    process.wait()
    assert process.pid not in children(os.getpid())

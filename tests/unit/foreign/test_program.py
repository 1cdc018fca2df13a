"""A program of somebody else's: ended in time, with what it started, and its last words kept."""

import os
import sys
import time

import pytest

from hurdles.foreign import program
from hurdles.foreign.program import last_lines, run_program


def run(tmp_path, text, limit_s=60.0, listen=str):
    script = tmp_path / "program.py"
    script.write_text(text)
    return run_program(
        [sys.executable, str(script)], tmp_path / "log.txt", limit_s=limit_s, listen=listen
    )


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as handle:  # noqa: PTH123 - a process, no file
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_a_program_that_ends_well_is_no_failure(tmp_path):
    ending = run(tmp_path, "import sys; print('one'); print('two', file=sys.stderr)")
    assert ending.failure == ""
    assert ending.last_lines == ["one", "two"]


def test_an_exit_code_is_named(tmp_path):
    ending = run(tmp_path, "print('no model here'); raise SystemExit(3)")
    assert ending.failure == "ended with exit code 3"
    assert ending.last_lines == ["no model here"]


def test_a_signal_is_named(tmp_path):
    ending = run(
        tmp_path,
        "import os, signal; print('so far', flush=True); os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert ending.failure.startswith("was killed by SIGKILL")
    assert "short of memory" in ending.failure
    assert ending.last_lines == ["so far"]


def test_a_program_that_is_not_there_is_named(tmp_path):
    ending = run_program(["no-such-program-at-all"], tmp_path / "log.txt", limit_s=5)
    assert ending.failure == "cannot be started (No such file or directory)"


def test_a_program_that_hangs_is_killed_and_its_last_lines_stay(tmp_path):
    ending = run(tmp_path, "import time; print('loading'); time.sleep(600)", limit_s=1.5)
    assert ending.failure == "did not end within 2 s and was killed"
    assert ending.last_lines == ["loading"]
    assert ending.seconds < 60


def test_a_program_that_ignores_the_polite_signal_is_killed_with_its_child(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_GRACE_S", 0.3)
    pids = tmp_path / "pids"
    text = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child}}")
time.sleep(600)
"""
    ending = run(tmp_path, text, limit_s=2)
    assert "was killed" in ending.failure
    for pid in map(int, pids.read_text().split()):
        assert wait_until(lambda pid=pid: not lives(pid))


def test_a_child_that_keeps_running_is_ended_and_not_waited_for(tmp_path):
    pids = tmp_path / "pids"
    text = f"""
import os, time
child = os.fork()
if child:
    open({str(pids)!r}, "w").write(str(child))
else:
    time.sleep(600)
"""
    ending = run(tmp_path, text)
    assert ending.failure == ""
    assert wait_until(lambda: not lives(int(pids.read_text())))


def test_a_program_that_prints_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "MOST_PRINTED", 1 << 20)
    ending = run(tmp_path, "while True: print('x' * 10000)")
    assert ending.failure == "printed more than 1 MiB and was killed"
    assert all(len(line) <= 300 for line in ending.last_lines)


def test_it_reads_nothing_and_a_prompt_does_not_hang(tmp_path):
    ending = run(tmp_path, "input('which GPU? ')")
    assert ending.failure == "ended with exit code 1"
    assert "EOFError" in ending.last_lines[-1]


def test_its_latest_line_is_told_as_it_prints(tmp_path):
    lines = []
    text = "import time\nfor n in range(3): print('batch', n); time.sleep(0.4)"
    run(tmp_path, text, listen=lines.append)
    assert lines[-1] == "batch 2"
    assert len(lines) >= 2


def test_a_line_that_is_drawn_again_counts_once_and_nothing_reaches_the_terminal(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"start\r\n10 %\r20 %\r30 %\r\n\x1b[31mred\xff\n\n")
    assert last_lines(log) == ["start", "30 %", "\\x1b[31mred\ufffd"]
    assert last_lines(tmp_path / "none.txt") == []


def test_an_interrupt_ends_the_program_too(tmp_path, monkeypatch):
    pids = tmp_path / "pids"

    def interrupt(line):
        raise KeyboardInterrupt

    text = f"""
import os, time
open({str(pids)!r}, "w").write(str(os.getpid()))
print("here"); time.sleep(600)
"""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, text, listen=interrupt)
    assert not lives(int(pids.read_text()))


def test_the_environment_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_MODEL", "here")
    ending = run(tmp_path, "import os; print(os.environ['MY_MODEL'], os.getcwd())")
    assert ending.last_lines == [f"here {os.getcwd()}"]  # noqa: PTH109 - what the program itself prints

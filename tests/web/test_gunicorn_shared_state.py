"""The state of the master process, as its forked workers read it."""

from __future__ import annotations

import os
import threading

from receiver.config_state import MAX_ERROR, ConfigState
from receiver.errors import Problem
from receiver.web.gunicorn import SharedConfigState


def test_a_forked_process_reads_values_that_are_set_later() -> None:
    shared = SharedConfigState(ConfigState(1.0))
    reading, writing = os.pipe()
    go, gone = os.pipe()
    child = os.fork()
    if not child:
        os.read(go, 1)
        os.write(writing, shared.get_state().error.encode())
        os._exit(0)
    shared.set_state(ConfigState(1.0, 2.0, "routing.yaml:3: no channel"))
    os.write(gone, b"x")
    assert os.read(reading, 100) == b"routing.yaml:3: no channel"
    os.waitpid(child, 0)


def test_the_longest_error_fits() -> None:
    problem = Problem("routing.yaml", 1, "\U0001f525" * 10_000)
    state = ConfigState(1.0).with_refusal([problem] * 3, 2.0)
    shared = SharedConfigState(state)
    assert shared.get_state() == state
    assert len(state.error) < MAX_ERROR + 30
    assert state.error.endswith("(and 2 more faults)")


def test_a_reader_never_sees_a_partly_written_state() -> None:
    states = [ConfigState(float(n), float(n), str(n) * (n % 400)) for n in range(400)]
    shared = SharedConfigState(states[0])
    wrong: list[ConfigState] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if (found := shared.get_state()) not in states:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for state in [*states] * 10:
        shared.set_state(state)
    done.set()
    reader.join()
    assert wrong == []

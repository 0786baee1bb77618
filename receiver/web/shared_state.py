"""The state of the master's configuration, in memory shared with the web workers.

Only the master loads the configuration, and it must not open a connection to Redis (see web/gunicorn.py), so
its workers publish the state to the other processes.
"""

from __future__ import annotations

import mmap

import msgspec

from receiver.config_state import MAX_ERROR, ConfigState

# Enough for the longest error at four bytes per character, plus the other fields.
_BUFFER_SIZE = 4 * MAX_ERROR + 1024
_LENGTH = 4
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConfigState)


class SharedConfigState:
    """One state that a process sets, and that the processes forked from it read.

    The memory holds two buffers and one byte that counts the writes; its parity selects the valid buffer. The
    byte changes last, and a reader that finds it changed after reading reads again. So a reader gets either
    the old state or the new one, never a mixture.
    """

    def __init__(self, state: ConfigState) -> None:
        self._memory = mmap.mmap(-1, 1 + 2 * _BUFFER_SIZE)
        self.set_state(state)

    def set_state(self, state: ConfigState) -> None:
        """Publish *state*. Only one process may call this."""
        times = (self._memory[0] + 1) % 256
        packed = _encoder.encode(state)
        begin = 1 + times % 2 * _BUFFER_SIZE
        self._memory[begin : begin + _LENGTH + len(packed)] = len(packed).to_bytes(_LENGTH, "big") + packed
        self._memory[0] = times

    def get_state(self) -> ConfigState:
        """Return the state that was set last."""
        while True:
            times = self._memory[0]
            begin = 1 + times % 2 * _BUFFER_SIZE
            length = int.from_bytes(self._memory[begin : begin + _LENGTH], "big")
            begin += _LENGTH
            packed = self._memory[begin : begin + length]
            if self._memory[0] == times:
                return _decoder.decode(packed)

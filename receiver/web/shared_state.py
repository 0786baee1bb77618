"""How the master of the web side stands to its configuration, in memory that its workers share.

Only the master loads a configuration, and it must not open a connection to Redis (see `serve`): its workers
say it to the others.
"""

from __future__ import annotations

import mmap

import msgspec

from receiver.config_state import MAX_ERROR, ConfigState

# Enough for an error of four bytes a character, with what stands around it.
_BUFFER_SIZE = 4 * MAX_ERROR + 1024
_LENGTH = 4
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConfigState)


class SharedConfigState:
    """One state that a process sets, and that those it has forked since read.

    There are two slots, and a byte that counts how often a state was set, by which one of them is valid: it
    changes last, and who finds it changed after reading reads again. So a reader sees either the old state or
    the new one.
    """

    def __init__(self, state: ConfigState) -> None:
        self._memory = mmap.mmap(-1, 1 + 2 * _BUFFER_SIZE)
        self.set_state(state)

    def set_state(self, state: ConfigState) -> None:
        """Show *state* from now on. Only one process may call this."""
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

"""The boards of an Evok host (its Modbus units): what belongs to which, and which of them answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from bridge.drivers.evok_frames import Record, number
from bridge.model import GroupState, GroupStatus, Json

NEVER = 1e6  # seconds: `last_comm` before the first contact is 0x7fffffff or the time since 1970


def silence(record: Record) -> str:
    """Why a board (a modbus_slave) counts as lost; "" while it answers. Evok never pushes this."""
    last, scan = number(record.last_comm), number(record.scan_interval)
    if last is None or last <= max(5.0, 3.0 * (scan or 0)):
        return ""
    if last >= NEVER:
        return "the board has not answered since Evok started (its inputs and outputs need a restart of Evok)"
    return f"the board has not answered for {last:.0f} s"


class Board(Struct, frozen=True):
    scan_interval: float = 0.0  # seconds
    serial: bool = False  # on a serial bus, where everything takes longer
    silence: str = ""


class Boards:
    """All boards seen so far, by the circuit of their modbus_slave; none is ever forgotten."""

    def __init__(self) -> None:
        self.any_silent = False
        self._boards: dict[str, Board] = {}
        self._infos: dict[str, Record] = {}
        self._reported: dict[str, tuple[bool, str]] = {}

    def learn(self, records: Sequence[Record]) -> None:
        """Take what an `all` says of boards."""
        for record in records:
            if record.kind == "modbus_slave" and record.circuit:
                self._boards[record.circuit] = Board(
                    scan_interval=float(number(record.scan_interval) or 0),
                    serial=isinstance(record.modbus_type, str) and record.modbus_type != "TCP",
                    silence=silence(record),
                )
            # Version 2 has the model in its `neuron`, version 3 in a `device_info` of its own.
            if record.kind in ("device_info", "modbus_slave") and isinstance(record.model, str):
                self._infos[record.circuit] = record
        self.any_silent = any(board.silence for board in self._boards.values())

    def board_of(self, circuit: str) -> str:
        """The board with the longest name that this circuit begins with; "" for none."""
        found = ""
        for board in self._boards:
            if len(board) > len(found) and (circuit == board or circuit.startswith(f"{board}_")):
                found = board
        return found

    def silence(self, board: str) -> str:
        known = self._boards.get(board)
        return known.silence if known else ""

    def settling(self, board: str, analog: bool) -> float:
        """Seconds until a processed write must show: analogue blocks are read with every tenth scan."""
        known = self._boards.get(board, Board())
        least = 3.0 if known.serial else 0.75
        return min(max(least, known.scan_interval * (12 if analog else 3)), 5.0)

    def changes(self) -> Iterator[GroupStatus]:
        """The boards whose state or name is other than reported."""
        for circuit, board in self._boards.items():
            status = not board.silence, self._name(circuit)
            if self._reported.get(circuit) != status:
                self._reported[circuit] = status
                state = GroupState.OFFLINE if board.silence else GroupState.ONLINE
                yield GroupStatus(circuit, state, board.silence, status[1])

    def _name(self, circuit: str) -> str:
        info = self._infos.get(circuit)
        if info is not None:
            words = (info.family, info.model)
            return " ".join(word for word in words if isinstance(word, str) and word != "unknown")
        main = self._main()
        return f"{main.model} board {circuit}" if main is not None else f"Board {circuit}"

    def _main(self) -> Record | None:
        """The main unit: the one whose name is no board's, for its boards are numbered."""
        return next((info for circuit, info in self._infos.items() if circuit not in self._boards), None)

    def info(self) -> dict[str, Json]:
        """What the host says it is."""
        main = self._main() or next(iter(self._infos.values()), None)
        said = {name: getattr(main, name, None) for name in ("family", "model", "sn", "board_count")}
        known: dict[str, Json] = {name: value for name, value in said.items() if isinstance(value, str | int)}
        if "sn" in known:
            known["serial_number"] = str(known["sn"])
        return known | {"manufacturer": "Unipi", "boards": list(self._boards)}

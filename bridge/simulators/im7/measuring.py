"""A measurement under way: rows become complete as time passes, are shown live, and remain as the result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from bridge.simulators.im7.cell import Cell
from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.jobs import COMPLETED, Ending, Job
from bridge.simulators.im7.measurements import Conditions, measured
from bridge.simulators.im7.results import Result, spectrum_row
from bridge.simulators.im7.spectra import preview

if TYPE_CHECKING:
    from bridge.simulators.im7.instrument import Instrument

TICK = 0.02  # real seconds between two looks at a measurement, at least
HEADER_AFTER = 0.3  # seconds until a spectrum's header comes


class Measuring:
    """One measurement job; making it raises Refused when it cannot run."""

    def __init__(self, instrument: Instrument, job: Job) -> None:
        main, order, temper = instrument.hardware.main, job.order, instrument.temper
        if order.type != "ocv" and not main.switched_on:
            raise Refused("POT_STATUS_MISMATCH", "MAIN:1:POT")
        seed = temper.seed + sum(instrument.counts.values())
        given = Conditions(
            instrument.uptime,
            temper.protocol,
            is_galvanostatic=main.switched_on and main.coupling == "GALVANOSTATIC",
            channels=temper.channels,
            wave=instrument.resources.wave(order.text("resource_id")) if order.type == "wave_file" else b"",
            seed=seed,
        )
        self._instrument, self._job = instrument, job
        self._recording = measured(order, given)
        self._rng = np.random.default_rng(seed)
        self._rows = 0
        instrument.hardware.rest = float(Cell().open_circuit(np.array([instrument.uptime]))[0])

    def result(self) -> Result:
        """What there is by now."""
        return Result(self._job, self._recording, self._rows)

    async def run(self) -> Ending:
        """Measure to the end; raises Ended, with the rows complete by then, when the job is to end before."""
        recording, speed = self._recording, self._instrument.temper.speed
        clock = asyncio.get_running_loop().time
        elapsed = 0.0
        if recording.is_spectrum:
            await self._job.pause(HEADER_AFTER / speed)
        self._show_header()
        while self._rows < recording.rows:
            before = clock()
            try:
                await self._job.pause(max((recording.due[self._rows] - elapsed) / speed, TICK))
            finally:
                elapsed += (clock() - before) * speed
                self._complete(recording.completed(elapsed))
            await self._instrument.frozen.passed()
        if recording.limit is None:
            return COMPLETED
        return Ending(self._instrument.temper.limit_status, "FUNCTIONAL_LIMIT_OCCURRED", recording.limit)

    def _complete(self, rows: int) -> None:
        """So many rows are complete by now."""
        first, self._rows = self._rows, rows
        if rows == first:
            return
        self._spoil(first)
        self._show(first, rows)
        if (trap := self._instrument.at_row) is not None and rows > trap[0]:
            self._instrument.at_row = None
            trap[1]()

    def _spoil(self, first: int) -> None:
        """Values that are not numbers, where a fault asks for them."""
        if self._instrument.spoilt is None or self._recording.is_spectrum:
            return
        count, column = self._instrument.spoilt
        self._instrument.spoilt = None
        self._recording.spoil(first, ("time", "voltage", "current").index(column), count)

    def _show_header(self) -> None:
        kind = "LIVE_DATA_HEADER_EIS" if self._recording.is_spectrum else "LIVE_DATA_HEADER"
        self._tell({"type": kind, "header": self._recording.header, "job_info": self._job.info()})

    def _show(self, first: int, last: int) -> None:
        temper = self._instrument.temper
        if self._recording.is_spectrum:
            for row in range(first, last):
                self._tell(spectrum_row(self._recording, row))
                self._tell(preview(self._recording, row, temper.protocol))
        elif rows := self._recording.live(first, last, temper.live_rows, temper.loss, self._rng):
            self._tell({"type": "LIVE_DATA_ROWS", "data": rows})

    def _tell(self, event: JsonObject) -> None:
        if self._job.id in self._instrument.jobs:
            self._instrument.publish(event)

"""A measurement's numbers: all of them at once; which are there already is a question of time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.simulators.im7.cell import Track
from bridge.simulators.im7.errors import Error, JsonObject

Matrix = npt.NDArray[np.float64]
Blocks = dict[str, list[list[float]]]


@dataclass(slots=True)
class Recording:
    """`matrix` holds one row per column of the result; `due` the seconds after the start when each is complete.

    `layout` tells of a spectrum how many columns its meta data, each impedance, path and potentiostat have, in the
    order of the result; it is None for a DC measurement. `limit` says which stop condition ends the last row.
    """

    header: JsonObject
    matrix: Matrix
    due: Track
    layout: tuple[tuple[str, int], ...] | None = None
    limit: Error | None = None

    @property
    def rows(self) -> int:
        return len(self.due)

    @property
    def is_spectrum(self) -> bool:
        return self.layout is not None

    def completed(self, elapsed: float) -> int:
        """How many rows are complete so many seconds after the start."""
        return int(np.searchsorted(self.due, elapsed, side="right"))

    def raw(self, rows: int) -> bytes:
        """The first rows as the result carries them: little-endian float64, column after column."""
        return np.ascontiguousarray(self.matrix[:, :rows], dtype="<f8").tobytes()

    def live(self, first: int, last: int, most: int, loss: float, rng: np.random.Generator) -> list[list[float]]:
        """Rows for a live message: at most so many, and some of them lost on the way."""
        index: npt.NDArray[np.int64] = np.arange(first, last)
        if len(index) > most:
            index = index[:: -(-len(index) // most)]
        index = index[rng.random(len(index)) >= loss]
        rows: list[list[float]] = self.matrix[:, index].T.tolist()
        return rows

    def point(self, row: int) -> Blocks:
        """One frequency of a spectrum, by block; `meta` has one list."""
        values: list[float] = self.matrix[:, row].tolist()
        blocks: Blocks = {}
        for name, width in self.layout or ():
            blocks.setdefault(name, []).append(values[:width])
            values = values[width:]
        return blocks

    def spoil(self, row: int, column: int, count: int) -> None:
        """The instrument fails to measure some values: not a number."""
        self.matrix[column, row : row + count] = np.nan

"""The electrochemical cell on the simulated IM7: a Randles circuit with a redox couple and a drifting rest."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Track = npt.NDArray[np.float64]
ComplexTrack = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Cell:
    """Units: ohm, farad, volt, second. All tracks have one element per row."""

    solution: float = 10.0
    transfer: float = 100.0
    double_layer: float = 20e-6
    warburg: float = 30.0  # ohm per square root of a second
    couple: float = 0.22  # the formal potential of the redox couple
    rest: float = 0.205
    settling: float = 600.0  # how slowly the rest potential settles
    capacity: float = 40.0  # coulomb per volt

    def open_circuit(self, at: Track) -> Track:
        """The rest potential at so many seconds after the instrument was switched on."""
        return (
            self.rest + 0.012 * np.exp(-at / self.settling) + 2e-7 * np.minimum(at, 1e5) + 4e-5 * np.sin(at / 47.0)
        )

    def current(self, time: Track, potential: Track, rest: float) -> Track:
        """Under potential control: charging of the double layer, the couple's peaks, a decaying polarisation."""
        if len(time) < 2:
            return (potential - rest) / (self.solution + self.transfer)
        slope = np.gradient(potential, time)
        polarised = (potential - rest) / (self.solution + self.transfer)
        diffusion = 1.0 / (1.0 + np.sqrt(np.maximum(time, 0.0) / 30.0))
        direction = np.sign(slope)
        height = 4e-4 * np.sqrt(np.abs(slope))
        peak = np.exp(-(((potential - self.couple - 0.029 * direction) / 0.055) ** 2))
        return self.double_layer * slope + 0.3 * polarised * (0.2 + 0.8 * diffusion) + direction * height * peak

    def potential(self, time: Track, current: Track, rest: float) -> Track:
        """Under current control: ohmic drop, polarisation that builds up, and the charge that has passed."""
        steps = np.diff(time, prepend=0.0)
        charge = np.cumsum(current * steps)
        built = 1.0 - np.exp(-time / 0.5)
        return rest + current * (self.solution + self.transfer * built) + charge / self.capacity

    def impedance(self, frequency: Track) -> ComplexTrack:
        """Randles: the solution in series with the double layer parallel to charge transfer and Warburg."""
        omega = 2 * np.pi * frequency
        faradaic = self.transfer + self.warburg * (1 - 1j) / np.sqrt(omega)
        return self.solution + 1 / (1j * omega * self.double_layer + 1 / faradaic)

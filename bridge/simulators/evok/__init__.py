"""A stand-in for Evok, the program on Unipi controllers: `serve(EvokSimulator(), host, port)`.

Written from the protocol page and from recordings of the real program (3.0.6); it shares nothing with the driver.
"""

from bridge.simulators.evok.simulator import EvokSimulator

simulator = EvokSimulator

__all__ = ["EvokSimulator", "simulator"]

"""A stand-in for the Zahner IM7: `serve(Im7Simulator(), host, port)`.

Written from the vendor's published examples and from recordings of the vendor's own client; it shares nothing with
the driver. Where the instrument's behaviour is not known the module that decides says so.
"""

from bridge.simulators.im7.simulator import Im7Simulator

simulator = Im7Simulator

__all__ = ["Im7Simulator", "simulator"]

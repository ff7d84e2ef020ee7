"""A stand-in for OST, the observatory server: `serve(OstSimulator(), host, port)`.

Written from the protocol page and from recordings of the real server; it shares nothing with the driver.
"""

from bridge.simulators.ost.simulator import OstSimulator

simulator = OstSimulator

__all__ = ["OstSimulator", "simulator"]

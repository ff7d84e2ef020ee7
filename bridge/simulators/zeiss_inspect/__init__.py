"""A stand-in for ZEISS INSPECT while its app IPCWebsocketExample runs: `serve(ZeissInspectSimulator())`.

Written from the protocol page and from recordings of the genuine script beside a stubbed host; it shares nothing
with the driver.
"""

from bridge.simulators.zeiss_inspect.simulator import ZeissInspectSimulator

simulator = ZeissInspectSimulator

__all__ = ["ZeissInspectSimulator", "simulator"]

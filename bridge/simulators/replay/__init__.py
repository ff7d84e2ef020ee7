"""A recorded device: `serve(ReplaySimulator(conversations))` says what the device said, when it said it.

It reads the transcripts that `lab2mqtt record` writes, by the description of their format and nothing else.
"""

from bridge.simulators.replay.recording import Recording, read
from bridge.simulators.replay.simulator import ReplaySimulator

__all__ = ["Recording", "ReplaySimulator", "read"]

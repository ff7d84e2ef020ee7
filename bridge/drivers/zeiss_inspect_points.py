"""What a ZEISS INSPECT device shows and takes: a fixed list, for the server tells nothing of itself."""

from __future__ import annotations

from bridge.model import Argument, Category, Kind, Outcome, Point

MODES = ("clipboard", "new_stage")
ENDS = tuple(
    outcome.value
    for outcome in (
        Outcome.DONE,
        Outcome.REJECTED,
        Outcome.FAILED,
        Outcome.UNKNOWN,
        Outcome.UNAVAILABLE,
        Outcome.EXPIRED,
        Outcome.SUPERSEDED,
    )
)
_PATIENCE = 3600.0  # seconds that an accepted import may wait for its turn

IMPORT_IMAGE = Point(
    "import_image",
    Kind.ACTION,
    "Import image",
    arguments=(
        Argument("file", required=True, help="absolute Windows path, or one that path_map translates"),
        Argument("name", required=True, help="measurement series; made if it does not exist"),
        Argument(
            "focal_length", "any", required=True, unit="mm", help="number or text; used for a new series only"
        ),
    ),
    timeout=None,
    expires=_PATIENCE,
)
IMPORT_ELEMENTS = Point(
    "import_elements",
    Kind.ACTION,
    "Import elements",
    arguments=(
        Argument("file", required=True, help="absolute Windows path, or one that path_map translates"),
        Argument("import_mode", required=True, choices=MODES),
    ),
    timeout=None,
    expires=_PATIENCE,
)
CANCEL = Point(
    "cancel",
    Kind.ACTION,
    "Cancel a waiting import",
    arguments=(Argument("job", required=True, help="its id; one that runs cannot be cancelled"),),
    urgent=True,
)
QUIT = Point(
    "quit", Kind.ACTION, "End the server", guarded=True, category=Category.CONFIGURATION, enabled=False
)  # and nobody but a person at that PC can start it again
RESET = Point("reset", Kind.ACTION, "Give up a stuck import", category=Category.CONFIGURATION)

RUNNING = Point("import/running", Kind.BINARY, "Import running", device_class="running")
LAST = Point("import/last", Kind.SENSOR, "Last import", choices=ENDS)
DURATION = Point(
    "import/duration",
    Kind.SENSOR,
    "Duration of the last import",
    unit="s",
    device_class="duration",
    state_class="measurement",
    precision=1,
)
QUEUE = Point(
    "import/queue",
    Kind.SENSOR,
    "Imports waiting",
    state_class="measurement",
    precision=0,
    category=Category.DIAGNOSTIC,
)
IMPORT = Point("import", Kind.EVENT, "Import", choices=("queued", "running", *ENDS))

POINTS = (IMPORT_IMAGE, IMPORT_ELEMENTS, CANCEL, QUIT, RESET, RUNNING, LAST, DURATION, QUEUE, IMPORT)

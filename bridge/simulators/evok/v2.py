"""How Evok 2 shows the same objects (read in its source and documentation, never recorded)."""

from collections.abc import Iterable

from bridge.simulators.evok.items import JsonObject

NAMES = {"di": "input", "ro": "relay", "do": "relay", "data_point": "unit_register", "modbus_slave": "neuron"}


def shaped(shape: JsonObject) -> JsonObject:
    """An object of Evok 3 in the words of Evok 2."""
    dev = str(shape["dev"])
    circuit = str(shape["circuit"])
    old = shape | {"dev": NAMES.get(dev, dev), "glob_dev_id": 2 if circuit.startswith("2") else 1}
    match dev:
        case "ro" | "do":
            old["relay_type"] = "physical" if dev == "ro" else "digital"
        case "ai" | "ao":
            modes = shape["modes"]
            limits = shape.get("range") or [0, 10]
            old["modes"] = list(modes) if isinstance(modes, Iterable) else []
            top = str(float(limits[-1])) if isinstance(limits, list) else ""
            old |= {"range": top, "range_modes": [top]}
    return old

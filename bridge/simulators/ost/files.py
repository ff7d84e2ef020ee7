"""The watched folder: names of files and folders, which all clients share, and their events."""

from collections import Counter
from dataclasses import dataclass, field

from bridge.simulators.ost.frames import CONTROLLER
from bridge.simulators.ost.wire import Wire


@dataclass(slots=True)
class Files:
    wire: Wire
    selected: str = "/var/www/ostmedia"
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=lambda: [""])
    taken: Counter[str] = field(default_factory=Counter)  # how often a picture of this name was taken
    told: dict[str, object] = field(default_factory=dict)  # the part of controllerdata: nothing before a change

    def dumped(self) -> dict[str, object]:
        return {"files": self.files, "folders": self.folders, "selectedfolder": self.selected}

    def picture(self, name: str) -> None:
        """A picture is written under a temporary name, then renamed."""
        self.taken[name] += 1
        temporary = f"{name}.tmp"
        self._event("fileadd", temporary)
        self.files.append(temporary)
        self._lists()
        if name not in self.files:
            self.files.append(name)
            self._event("fileadd", name)
        self.files.remove(temporary)
        self._event("filedel", temporary)
        self._lists()

    def folder(self, *names: str) -> None:
        new = [name for name in names if name not in self.folders]
        for name in new:
            self.folders.append(name)
            self._event("folderadd", name)
        if new:
            self._lists()

    def select(self, folder: str) -> None:
        """Choose another folder, for everybody; `..` is not refused."""
        self.selected = folder
        self.files, self.folders = [], [""]
        self.wire.frame({"evt": "filesdump", "fileevent": list(self.files)})
        self.wire.frame({"evt": "foldersdump", "fileevent": list(self.folders)})
        self._lists()

    def _event(self, event: str, path: str) -> None:
        self.wire.frame({"evt": event, "fileevent": [path]})

    def _lists(self) -> None:
        self.told = {"files": list(self.files), "folders": list(self.folders)}
        for name, paths in self.told.items():
            self.wire.broadcast(CONTROLLER, {name: paths})

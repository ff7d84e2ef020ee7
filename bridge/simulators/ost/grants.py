"""Who may do what: kept by peer address and not by connection, as the real server does it."""

from typing import Final

WRITE: Final = "1"
READ: Final = "0"
NONE: Final = "-1"
UNSET: Final = ""  # reads, and does not write

USERS = {("ADMIN", "admin"): WRITE, ("GUEST", "guest"): READ}
DEFAULTS = {"0": WRITE, "1": READ, "2": NONE, "": UNSET}


class Grants:
    """`server` is the option --grant: "0", "1", "2", or "" for missing."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._of: dict[str, str] = {}

    def connected(self, address: str) -> None:
        """Whatever was granted to this address begins anew, for all its connections."""
        self._of[address] = DEFAULTS[self.server]

    def left(self, address: str) -> None:
        """The entry goes although other connections of the address may remain."""
        self._of.pop(address, None)

    def logged_in(self, address: str, user: object, password: object) -> bool:
        """A wrong login takes away what there was."""
        known = (user, password) in USERS if isinstance(user, str) and isinstance(password, str) else False
        self._of[address] = USERS[user, password] if known else NONE  # type: ignore[index]
        return known

    def of(self, address: str) -> str:
        return self._of.get(address, UNSET)

    def lose(self, address: str = "") -> None:
        """Forget one address, or all."""
        for one in [address] if address else list(self._of):
            self._of.pop(one, None)

    def all(self) -> dict[str, str]:
        return dict(self._of)

"""What any client may ask (XX, DU, IL, LO), and who may command: the server's side of each connection."""

from bridge.simulators.ost.commands import execute
from bridge.simulators.ost.frames import JsonObject, encoded
from bridge.simulators.ost.grants import NONE, WRITE, Grants
from bridge.simulators.ost.observatory import Observatory
from bridge.simulators.ost.requests import FREE, Misunderstood, parsed
from bridge.simulators.ost.wire import Listener, Wire

LANGUAGE = "en"


class Clients:
    """Those connected, with their grants and languages. `is_old`: a dump is asked for in vain."""

    def __init__(self, wire: Wire, grants: Grants, *, is_old: bool) -> None:
        self._wire, self._grants, self._is_old = wire, grants, is_old

    def joined(self, client: Listener) -> None:
        self._grants.connected(client.remote)
        self._wire.clients[client] = LANGUAGE

    def left(self, client: Listener) -> None:
        del self._wire.clients[client]
        self._grants.left(client.remote)

    def obey(self, observatory: Observatory, client: Listener, text: str) -> None:
        """Answer one text frame, completely: everything direct precedes the answer to the next one."""
        try:
            key, body = parsed(text)
            if key in FREE:
                self._answer(observatory, client, key, body)
            elif self._grants.of(client.remote) == WRITE:
                execute(observatory, key, body)
            else:
                raise Misunderstood("WS", "Client not granted for updates")
        except Misunderstood as error:
            self._wire.log(error.origin, 3, str(error), client)

    def _answer(self, observatory: Observatory, client: Listener, key: str, body: JsonObject) -> None:
        """What needs no grant."""
        match key:
            case "XX":
                client.send(encoded({"xx": {}}))
                return
            case "DU":
                self._wire.log("WS", 0, "Full dump request: DU", client)
                self._choose(client, body)
            case "IL":
                if not isinstance(body.get("language"), str):
                    raise Misunderstood("WS", "Invalid language data")
                self._choose(client, body)
            case "LO":
                self._log_in(client, body)
        self._dump(observatory, client)

    def _choose(self, client: Listener, body: JsonObject) -> None:
        if isinstance(language := body.get("language"), str):
            self._wire.clients[client] = language
            self._wire.log("WS", 0, f"Client set language: {language}", client)

    def _log_in(self, client: Listener, body: JsonObject) -> None:
        user, password = body.get("user"), body.get("pw")
        if not isinstance(user, str) or not isinstance(password, str):
            raise Misunderstood("WS", "Invalid login data")
        self._wire.log("WS", 0, "Login request: LO", client)
        if not self._grants.logged_in(client.remote, user, password):
            self._wire.log("DBManager", 3, f"getGrants - Invalid credentials - {user}-", client)
        if isinstance(language := body.get("language"), str):
            self._wire.clients[client] = language

    def _dump(self, observatory: Observatory, client: Listener) -> None:
        """With the grant -1, the dump holds nothing but the two grants."""
        if self._is_old:
            client.send(encoded({"evt": "moduledump", "mod": "MyFocuser", "modules": {}}))
            return
        grant = self._grants.of(client.remote)
        shown: JsonObject = {"grant-client": grant, "grant-server": self._grants.server}
        if grant != NONE:
            shown |= observatory.dumped(self._wire.clients[client])
        client.send(encoded({"d": shown}))

"""Answers HTTP requests on the server's one port: REST, control calls of the fake server, or a WebSocket."""

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from ...contracts.errors import UsageError
from .broadcast import Broadcast
from .misbehaviour import Misbehaviour
from .rest import Answer, Rest, json_body

PATH = "/stocks"  # of the WebSocket


class Gate:
    """Routes a request."""

    def __init__(self, broadcast: Broadcast, rest: Rest, misbehaviour: Misbehaviour) -> None:
        self._broadcast = broadcast
        self._rest = rest
        self._misbehaviour = misbehaviour

    async def answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer a GET, or return None if a WebSocket may open."""
        path = urlsplit(request.path).path
        if path.startswith("/fake/"):
            return _response(socket, self._control(path, urlsplit(request.path).query))
        await asyncio.sleep(self._misbehaviour.delay_s())
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _response(socket, self._rest.answer(request.path, request.headers.get("Authorization", "")))
        if self._misbehaviour.does("cut"):
            socket.transport.abort()
        if self._misbehaviour.does("5xx"):
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "try again later\n")
        if path != PATH:
            return socket.respond(HTTPStatus.NOT_FOUND, f"only {PATH} is played here\n")
        return None

    def _control(self, path: str, query: str) -> Answer:
        """Answer the control calls: /fake/misbehave, /fake/behave, /fake/bars."""
        options = {name: values[-1] for name, values in parse_qs(query).items()}
        try:
            if path == "/fake/misbehave":
                seconds, times = options.get("seconds"), options.get("times")
                self._broadcast.misbehave(
                    options.get("what", ""),
                    seconds=float(seconds) if seconds else None,
                    times=int(times) if times else None,
                )
            elif path == "/fake/behave":
                self._misbehaviour.switch_off(options.get("what"))
            elif path == "/fake/bars":
                bars = self._broadcast.aggregates.bars(options.get("symbol"), channel=options.get("channel", "T"))
                return Answer(200, {"bars": [bar._asdict() for bar in bars]})
            else:
                return Answer(404, {"status": "NOT_FOUND"})
        except (UsageError, ValueError) as e:
            return Answer(400, {"status": "ERROR", "error": str(e)})
        return Answer(200, {"status": "OK"})


def _response(socket: ServerConnection, answer: Answer) -> Response:
    response = socket.respond(HTTPStatus(answer.status), json_body(answer))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response

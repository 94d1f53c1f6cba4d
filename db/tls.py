"""TLS to Redis and PostgreSQL: explain why a connection was refused, and what to do."""

import re
import socket
import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from redis.connection import to_bool

from ..contracts.errors import SetupError
from ..contracts.server import Server

_CA = {"redis": "ssl_ca_certs", "postgresql": "sslrootcert"}
_CERTIFICATE = {"redis": "ssl_certfile and ssl_keyfile", "postgresql": "sslcert and sslkey"}
_VERIFY = {"redis": "rediss://", "postgresql": "sslmode=verify-full"}

# Messages of OpenSSL, its Python module and libpq, and what to do; the first match counts.
_REFUSALS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(words, re.IGNORECASE), do)
    for words, do in (
        (r"certificate (has expired|is not yet valid)", "renew the server's certificate, or set this host's clock"),
        (
            r"hostname mismatch|ip address mismatch|does not match host name",
            "use a name of the server's certificate in the address",
        ),
        (
            r"unable to get (local )?issuer|self[- ]signed certificate|unable to verify the first",
            "name the file with the CA of the server's certificate: {ca}",
        ),
        (
            r"certificate verify failed",
            "the server's certificate has expired, or is not of a CA in {ca}: renew it, or name its CA's file",
        ),
        (
            r"certificate[_ ]required|requires a valid client certificate",
            "the server asks for a client certificate: {certificate}",
        ),
        (
            r"alert[_ ]unknown[_ ]ca",
            "the server does not know the CA of our client certificate: {certificate} of a CA that it knows",
        ),
        (
            r"alert[_ ](certificate|bad[_ ]certificate|unsupported[_ ]cert)",
            "the server refuses our client certificate: renew {certificate}",
        ),
        (
            r"alert[_ ](handshake[_ ]failure|protocol[_ ]version)|no[_ ]shared[_ ]cipher|unsupported[_ ]protocol",
            "both sides share no TLS version or cipher, or the server asks for a client certificate: {certificate}",
        ),
        (
            r"wrong[_ ]version[_ ]number|record[_ ]layer[_ ]failure|does not support SSL",
            "the server has no TLS on this port: use its TLS port, or leave {verify} out",
        ),
        (r"speaks TLS only", "write {verify}"),
        (
            r"(root certificate|certificate|private key) file \"|no[_ ]certificate|certificate present|sslrootcert",
            "check the files {ca}, {certificate}",
        ),
    )
)
_ABRUPT = re.compile(r"reset by peer|EOF occurred|closed by (the )?server|connection closed|broken pipe", re.IGNORECASE)
_SILENT = re.compile(r"timeout connecting|timed out", re.IGNORECASE)
_SAID = re.compile(r"^.*\[(?:\w+: )?\w+\] (.*?)\.? ?\(_ssl.*$")  # without the place in OpenSSL's source
_PROBE_S = 2.0

_REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")


def is_refusal(text: str) -> bool:
    """Tell whether an error is a TLS refusal, rather than an unreachable server."""
    return any(words.search(text) for words, _ in _REFUSALS)


def advised(text: str, server: Server) -> str | None:
    """Return a TLS error's text with what to do; None for any other error."""
    for words, do in _REFUSALS:
        if words.search(text):
            said = _SAID.sub(r"\1", text)
            spelled = do.format(ca=_CA[server], certificate=_CERTIFICATE[server], verify=_VERIFY[server])
            return f"TLS: {said}: {spelled}"
    return None


# -- Redis -------------------------------------------------------------------------------------------------------------


def check_redis_options(url: str) -> None:
    """Check the TLS options of a URL, and their files. Raises SetupError, which names the problem."""
    if urlsplit(url).scheme.startswith("rediss"):
        _context(_options(url))


def refused_by_redis(url: str, text: str) -> str | None:
    """Explain an error of a Redis connection if TLS caused it; else None.

    A server that refuses us may close the connection before we read its answer. Then connect once more, only to read
    it.
    """
    scheme = urlsplit(url).scheme
    if _ABRUPT.search(text) and "+" not in scheme and scheme != "unix":
        text = _listen(url, encrypted=scheme == "rediss") or text
    return advised(text, "redis")


def hint(url: str, text: str) -> str:
    """Return a hint if the server was silent in our handshake: a server without TLS waits for more bytes."""
    is_silent = urlsplit(url).scheme.startswith("rediss") and _SILENT.search(text)
    return ": does it use TLS? redis:// is without" if is_silent else ""


def _listen(url: str, *, encrypted: bool) -> str:
    """Start TLS and return the server's answer. encrypted: whether our client uses TLS."""
    parts = urlsplit(url)
    options = _options(url) if encrypted else {"ssl_cert_reqs": "none"}
    place = (parts.hostname or "localhost", parts.port or 6379)
    try:
        with (
            socket.create_connection(place, timeout=_PROBE_S) as plain,
            _context(options).wrap_socket(plain, server_hostname=place[0]) as tls,
        ):
            if not encrypted:
                return "it speaks TLS only"
            tls.recv(1)
    except (OSError, SetupError) as e:  # its files may be under renewal
        return str(e) if encrypted else ""
    return ""


def _options(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items() if name.startswith("ssl_")}


def _context(options: dict[str, str]) -> ssl.SSLContext:
    """Make the SSL context that the client library makes of these options."""
    for name in _FILES:
        if name in options:
            _read(name, Path(options[name]))
    context = ssl.create_default_context()
    wanted = options.get("ssl_cert_reqs", "required")
    if wanted not in _REQUIREMENTS:
        raise SetupError(f"the Redis address: ssl_cert_reqs is one of {', '.join(_REQUIREMENTS)}")
    context.check_hostname = wanted != "none" and to_bool(options.get("ssl_check_hostname", "yes"))
    context.verify_mode = _REQUIREMENTS[wanted]
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise SetupError("the Redis address: ssl_keyfile needs ssl_certfile beside it")
    name = "ssl_ca_certs"
    try:
        if "ssl_ca_certs" in options or "ssl_ca_path" in options:
            context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
        name = "ssl_certfile and ssl_keyfile"
        if "ssl_certfile" in options:
            # Give a password, or OpenSSL asks for one at the terminal.
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), password=options.get("ssl_password", "")
            )
    except ssl.SSLError as e:
        raise SetupError(f"the Redis address: {name}: {(e.reason or str(e)).replace('_', ' ').lower()}") from e
    return context


def _read(name: str, path: Path) -> None:
    try:
        if path.is_dir() and name == "ssl_ca_path":
            return
        with path.open("rb"):
            return
    except OSError as e:
        raise SetupError(f"the Redis address: {name}: {path}: {e.strerror}") from e

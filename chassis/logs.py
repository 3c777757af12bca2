"""Sets up the standard library's logging for a service process: one event a line on stderr, masked.

Called once by the process's entry point. Library code only ever calls `logging.getLogger`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TextIO

import orjson

from chassis.masking import MaskingFilter, mask_text, mask_value
from chassis.patient_stream import PatientStream

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SETTLE_SECONDS: Final = 1.0
_NOISY: Final = ("asyncio", "watchfiles", "aiohttp.access", "grpc")  # one line per file event or request at INFO


def setup_logging(service: str, *, level: str = "INFO", style: str = "auto", stream: TextIO | None = None) -> None:
    """Send every log event of the process to one stream, replacing what was set up before.

    Args:
        service: Written into every line.
        level: One of `LEVELS`, in any case.
        style: `json`, `text`, or `auto`: text on a terminal, else JSON.
        stream: Where to; when None to stderr, whose reader may stall without stalling the process.

    Raises:
        ValueError: Unknown level or style.
    """
    if level.upper() not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, not {level!r}")
    if style not in ("auto", "json", "text"):
        raise ValueError(f"log style must be auto, json or text, not {style!r}")
    target = sys.stderr if stream is None else stream
    is_text = style == "text" or (style == "auto" and target.isatty())
    formatter = TextFormatter(service) if is_text else JsonFormatter(service)
    handler = _QuietHandler(PatientStream(target, partial(_lost_line, formatter)) if stream is None else target)
    handler.addFilter(MaskingFilter())
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, service, logger, event, what was passed in `extra`, exception."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = mask_text(self.formatException(record.exc_info))
        try:
            return orjson.dumps(line, default=_as_text, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # a lone surrogate or a huge integer: the slow writer takes both
            return json.dumps(line, default=_as_text, skipkeys=True)


class TextFormatter(logging.Formatter):
    """One readable line; control characters are written as escapes, so an event cannot fake a second one."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        parts = [_time(record), f"{record.levelname:<7}", f"{self._service}/{record.name}:", record.getMessage()]
        parts += [f"{name}={_as_text(value)}" for name, value in _extra(record).items()]
        if record.exc_info:
            parts.append("| " + mask_text(self.formatException(record.exc_info)))
        return " ".join(_on_one_line(part) for part in parts)


class _QuietHandler(logging.StreamHandler[TextIO | PatientStream]):
    """A handler for which a broken stream is no reason to raise or to print."""

    def close(self) -> None:
        """Give a reader that is behind a last moment; called by the standard library at exit."""
        if isinstance(self.stream, PatientStream):
            self.stream.settle(_SETTLE_SECONDS)
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        pass


def _lost_line(formatter: logging.Formatter, lost: int) -> str:
    fields = {"name": "chassis.logs", "levelname": "WARNING", "msg": "log_lines_lost", "lost": lost}
    return formatter.format(logging.makeLogRecord(fields)) + "\n"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    masked = mask_value({name: _plain(value) for name, value in extra.items()})
    return dict(masked)


def _plain(value: Any) -> Any:
    """Return what masking can look into: JSON values as they are, anything else as text."""
    return value if isinstance(value, str | int | float | dict | list | tuple | None) else _as_text(value)


def _as_text(value: Any) -> str:
    return mask_text(str(value))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _on_one_line(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )

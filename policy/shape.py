"""Checks one file against its schema model and says what is wrong in the words of the policy guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from policy.diagnostics import ProblemList, did_you_mean, quote
from policy.positions import Document
from policy.reader import plain_value
from policy.schema.base import PATTERN_WORDS

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]

_KEY_MARK: Final = "[key]"  # how pydantic marks that a mapping's key, not its value, is wrong

_WRONG_KIND: Final = MappingProxyType(
    {
        "model_type": "expected keys with values here",
        "dict_type": "expected keys with values here",
        "tuple_type": "expected a list here",
        "list_type": "expected a list here",
        "string_type": "expected text here",
        "int_type": "expected a number here",
        "bool_type": "expected true or false here",
    }
)

_WORDS: Final[Mapping[str, Callable[[dict[str, Any]], str]]] = MappingProxyType(
    {
        "too_short": lambda ctx: f"needs at least {ctx['min_length']} entry",
        "too_long": lambda ctx: f"takes at most {ctx['max_length']} entries",
        "string_too_short": lambda ctx: "must not be empty",
        "string_too_long": lambda ctx: f"takes at most {ctx['max_length']} characters",
        "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']}",
        "less_than_equal": lambda ctx: f"must be at most {ctx['le']}",
        "value_error": lambda ctx: str(ctx["error"]),
        "literal_error": lambda ctx: f"must be {ctx['expected']}",
    }
)


@dataclass(frozen=True, slots=True)
class SoundItems:
    """A file whose broken list items were left out, so that the others can be checked in the same run.

    Attributes:
        model: The file without them.
        kept: For each list that lost items, the places in the file of those that are left.
    """

    model: BaseModel
    kept: Mapping[str, tuple[int, ...]]


def sound_items(document: Document, model: type[BaseModel]) -> SoundItems | None:
    """Return what is sound of a file that `check_shape` refused; None when more than list items is broken."""
    value: Any = plain_value(document.root)
    try:
        return SoundItems(model.model_validate(value), {})
    except ValidationError as error:
        places = [detail["loc"] for detail in error.errors(include_url=False, include_context=False)]
    # Within an object of a list: without a plain entry, such as a tier, what names it would be told as wrong.
    if not all(len(place) > 2 and isinstance(place[1], int) for place in places):
        return None
    broken = {(place[0], place[1]) for place in places}
    kept = {
        str(field): tuple(index for index in range(len(value[field])) if (field, index) not in broken)
        for field in {place[0] for place in places}
    }
    pruned = {field: [value[field][index] for index in indices] for field, indices in kept.items()}
    try:
        return SoundItems(model.model_validate({**value, **pruned}), kept)
    except ValidationError:
        return None


def check_shape(document: Document, model: type[Model], problems: ProblemList) -> Model | None:
    """Return the file as a model, or None after adding every problem of its shape."""
    try:
        return model.model_validate(plain_value(document.root))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if problems.is_full:
                break
            if not _is_echo(document, detail, problems):
                _add(document, model, detail, problems)
        return None


def _is_echo(document: Document, detail: ErrorDetails, problems: ProblemList) -> bool:
    """Say whether a complaint only repeats one about the same value: nothing there, or a list whose items are wrong."""
    if detail["type"] == "too_short":
        return bool(len(detail["input"]) >= (detail.get("ctx") or {})["min_length"])
    line, column = document.source.place(document.offset(detail["loc"]))
    return problems.has_at(document.name, line, column) and detail["type"] not in ("missing", "extra_forbidden")


def _add(document: Document, model: type[BaseModel], detail: ErrorDetails, problems: ProblemList) -> None:
    location: Location = tuple(detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        key = str(location[-1])
        hint = did_you_mean(key, _known_keys(model, location[:-1]))
        problems.add(document.key_problem(location, "P030", f"unknown key {quote(key)}{hint}"))
    elif kind == "missing":
        problems.add(document.problem(location[:-1], "P031", f"key {quote(str(location[-1]))} is missing"))
    elif kind in _WRONG_KIND:
        problems.add(document.problem(location, "P032", _WRONG_KIND[kind]))
    elif location and location[-1] == _KEY_MARK:
        problems.add(document.key_problem(location[:-1], "P033", _value_message(detail)))
    else:
        problems.add(document.problem(location, "P033", _value_message(detail)))


def _value_message(detail: ErrorDetails) -> str:
    ctx = detail.get("ctx") or {}
    value = detail["input"]
    shown = f"{quote(value)} " if isinstance(value, str) else ""
    if detail["type"] == "string_pattern_mismatch":
        return f"{shown}is not accepted; expected {PATTERN_WORDS.get(ctx['pattern'], ctx['pattern'])}"
    if detail["type"] == "literal_error":
        choices = [choice.strip("'") for choice in str(ctx["expected"]).replace(" or ", ", ").split(", ")]
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"{shown}is not one of {', '.join(choices)}{hint}"
    words = _WORDS.get(detail["type"])
    if words is None:
        return f"{shown}is not accepted here"
    return f"{shown}is not accepted: {words(ctx)}" if shown else words(ctx)


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that the mapping at `location` may have."""
    found: Any = model
    for part in location:
        if isinstance(part, str) and _is_model(found):
            field = found.model_fields.get(part)
            found = field.annotation if field else None
        elif not _is_model(found):
            found = _inner(found)
        found = _unwrap(found)
    return list(found.model_fields) if _is_model(found) else []


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _inner(annotation: Any) -> Any:
    """Return what a list or mapping type holds."""
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return arguments[-1] if arguments else None


def _unwrap(annotation: Any) -> Any:
    """Return the model inside `Model | None`; other types as they are."""
    models = [argument for argument in get_args(annotation) if _is_model(argument)]
    is_optional = type(None) in get_args(annotation)
    return models[0] if is_optional and models else annotation

"""Risk expressions: CEL, typed at load against protos/attributes.proto, evaluated in a few microseconds.

The one module that knows the CEL library. Every attribute is a variable under its dotted name that holds a native
value; an attribute that the payment lacks is left out, which CEL reports as unknown, never as zero or false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel

from chassis.no_truth import NoTruth
from policy.attributes import Attribute, attribute_catalogue
from policy.cel_text import PRESENT_PREFIX, CelInvalid, PreparedText, explain, is_balanced, prepare

__all__ = ["BoundValues", "CelError", "CelInvalid", "CelProgram", "CelResult", "CelRules", "CelUnknown"]

MAX_TEXT: Final = 4000
"""Characters of one expression."""

_MAX_GUARD: Final = 90_000  # the library refuses above 100,000 code points
# Most failures come as a value of type error; what ends the run itself, such as too many iterations, is raised.
_LIBRARY_ERRORS: Final = (RuntimeError, ValueError, TypeError, OverflowError)
_TRIAL_VALUES: Final = {"int": 1, "string": "x", "bool": True, "double": 1.0}
_UNKNOWN_START: Final = 'UNKNOWN: No value with name "'


@dataclass(frozen=True, slots=True)
class CelUnknown(NoTruth):
    """The outcome depends on an attribute that the payment lacks.

    Attributes:
        attribute: Its dotted name; the first one met.
    """

    attribute: str


@dataclass(frozen=True, slots=True)
class CelError(NoTruth):
    """Evaluation failed: overflow, division by zero, a value of the wrong type.

    Attributes:
        message: For the operator's log only.
    """

    message: str


CelResult = bool | CelUnknown | CelError


@dataclass(frozen=True, slots=True)
class BoundValues:
    """One payment's attributes, converted once for all programs of a `CelRules`."""

    activation: Any


class CelProgram:
    """A compiled expression of type bool.

    Attributes:
        text: As its author wrote it.
        attributes: Names of the attributes it reads; `present("...")` alone does not count as reading.
        present_names: Names whose presence it asks for.
    """

    __slots__ = ("_expression", "_reads", "attributes", "present_names", "text")

    def __init__(self, prepared: PreparedText, text: str, expression: Any, attributes: frozenset[str]) -> None:
        self.text = text
        self.attributes = attributes
        self.present_names = prepared.present_names
        self._expression = expression
        self._reads = tuple(sorted(attributes))

    def evaluate(self, values: Mapping[str, Any]) -> CelResult:
        """Return the verdict for one payment.

        Args:
            values: Attributes by dotted name: int, str, and list for repeated ones; absent means left out.
        """
        data = {name: values[name] for name in self._reads if name in values}
        for name in self.present_names:
            data[PRESENT_PREFIX + name] = name in values
        try:
            return _result(self._expression.eval(data=data).value())
        except _LIBRARY_ERRORS as error:
            return CelError(str(error))

    def evaluate_bound(self, bound: BoundValues) -> CelResult:
        """Return the verdict for values that `CelRules.bind` converted: cheaper for many programs."""
        try:
            return _result(self._expression.eval(bound.activation).value())
        except _LIBRARY_ERRORS as error:
            return CelError(str(error))


def _result(value: Any) -> CelResult:
    if value is True or value is False:
        return bool(value)
    message = str(value)
    if message.startswith(_UNKNOWN_START):
        return CelUnknown(message[len(_UNKNOWN_START) :].partition('"')[0])
    return CelError(message)


class CelRules:
    """The environment of all expressions of a policy set."""

    def __init__(self) -> None:
        self._catalogue = attribute_catalogue()
        variables = {attribute.name: _variable_type(attribute) for attribute in self._catalogue.values()}
        variables |= {PRESENT_PREFIX + name: cel.Type.BOOL for name in self._catalogue}
        self._environment = cel.NewEnv(variables=variables)
        self._asked_present: set[str] = set()
        self._trial = {
            attribute.name: [_TRIAL_VALUES[attribute.type]] if attribute.is_repeated else _TRIAL_VALUES[attribute.type]
            for attribute in self._catalogue.values()
        }

    def compile(self, text: str) -> CelProgram:
        """Return the program.

        Raises:
            CelInvalid: The text is not a CEL expression of type bool over known attributes.
        """
        if len(text) > MAX_TEXT:
            raise CelInvalid(1, 1, f"longer than {MAX_TEXT} characters")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise CelInvalid(1, 1, "holds half of a surrogate pair")
        program = self._compile(prepare(text, self._catalogue), text)
        if not is_balanced(text):
            raise CelInvalid(1, 1, "brackets do not match")
        trial = program.evaluate(self._trial)
        if isinstance(trial, CelError) and "budget" in trial.message:
            raise CelInvalid(1, 1, "too much work in one expression: loops inside loops")
        return program

    def compile_any(self, texts: Sequence[str]) -> list[CelProgram]:
        """Return guard programs that join the texts with `||`; false means that none of them is true.

        Args:
            texts: Expressions that `compile` accepts.

        Raises:
            CelInvalid: One of the texts alone is invalid.
        """
        guards: list[CelProgram] = []
        for chunk in _chunks(texts):
            prepared = [prepare(text, self._catalogue) for text in chunk]
            # A line of its own each: a comment at a text's end must not swallow what follows.
            joined = " || ".join(f"(\n{item.text}\n)" for item in prepared)
            names = frozenset(name for item in prepared for name in item.present_names)
            try:
                guards.append(self._compile(PreparedText(joined, names), "\n||\n".join(chunk)))
            except CelInvalid:
                # Brackets of ours can be the level too many; then each text guards itself.
                guards.extend(self.compile(text) for text in chunk)
        return guards

    def bind(self, values: Mapping[str, Any]) -> BoundValues:
        """Convert one payment's attributes for `CelProgram.evaluate_bound`, once for all programs."""
        if self._asked_present:
            values = {**values, **{PRESENT_PREFIX + name: name in values for name in self._asked_present}}
        return BoundValues(self._environment.Activation(data=values))

    def _compile(self, prepared: PreparedText, text: str) -> CelProgram:
        try:
            expression = self._environment.compile(prepared.text)
            is_bool = expression.return_type() == cel.Type.BOOL
            names = frozenset(_referenced_names(expression.serialize())).intersection(self._catalogue)
        except _LIBRARY_ERRORS as error:
            raise explain(str(error), prepared.text, self._catalogue) from None
        if not is_bool:
            raise CelInvalid(1, 1, f"must be true or false, but it is of type {expression.return_type().name()}")
        self._asked_present |= prepared.present_names
        return CelProgram(prepared, text, expression, names)


def _variable_type(attribute: Attribute) -> Any:
    types = {"int": cel.Type.INT, "string": cel.Type.STRING, "bool": cel.Type.BOOL, "double": cel.Type.DOUBLE}
    scalar = types[attribute.type]
    return cel.Type.List(scalar) if attribute.is_repeated else scalar


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        if chunk and size + len(text) + 8 > _MAX_GUARD:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text) + 8
    if chunk:
        yield chunk


def _referenced_names(serialized: bytes) -> Iterator[str]:
    """Return every name in the reference map of a checked expression.

    The library hands out google.protobuf.Any around cel.expr.CheckedExpr (cel/expr/checked.proto): field 2 of both
    is what leads there, `reference_map` with Reference (field 1 `name`) as value.
    """
    for checked in _submessages(serialized, 2):
        for entry in _submessages(checked, 2):
            for reference in _submessages(entry, 2):
                for name in _submessages(reference, 1):
                    yield name.decode("utf-8", "replace")


def _submessages(message: bytes, wanted: int) -> Iterator[bytes]:
    """Return the length-delimited values of one field of a protobuf message, in order."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            _, position = _varint(message, position)
        elif kind == 2:
            length, position = _varint(message, position)
            if tag >> 3 == wanted:
                yield message[position : position + length]
            position += length
        else:
            position += 8 if kind == 1 else 4


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7

"""The part of a body that has the right form, to be checked further although other fields have errors. Pure."""

from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

_T = TypeVar("_T", bound=BaseModel)
Json = dict[str, Any]

_ARTIFACT_ID = "art_" + "0" * 26
_ELEMENTS: Json = {"clips": {"prompt": "?"}, "artifact_ids": _ARTIFACT_ID}
_SUBSTITUTES: Json = {
    "prompt": "?",
    "source": {"artifact_id": _ARTIFACT_ID},
    **{name: [element] for name, element in _ELEMENTS.items()},
}
"""For fields that a body must have. Errors at a substitute are not errors of the body."""


class ValidPart(Generic[_T]):
    """A body without its fields at the `wrong` places, which are given as pydantic's `loc`."""

    def __init__(self, kind: type[_T], body: object, wrong: Iterable[Sequence[str | int]]) -> None:
        places = [tuple(place) for place in wrong]
        self._places = {tuple(map(str, place)) for place in places}
        self._prefixes = {place[:length] for place in self._places for length in range(len(place) + 1)}
        self._is_length_certain = not any(map(_changes_length, self._places))
        self.request = self._validate(kind, body, places)
        """The part as a request. None if it says nothing about the rest."""

    def is_error_of_body(self, pointer: str) -> bool:
        """Whether an error of the part is an error of the whole body too. `pointer`: as in RFC 6901."""
        parts = tuple(pointer.split("/")[1:])
        is_below = any(parts[:length] in self._places for length in range(len(parts) + 1))
        is_about_length = parts[:1] in (("transition",), ("soundtrack",))
        return not (is_below or parts in self._prefixes or (is_about_length and not self._is_length_certain))

    def _validate(self, kind: type[_T], body: object, places: Iterable[tuple[str | int, ...]]) -> _T | None:
        if not isinstance(body, dict):
            return None
        part = dict(cast("Json", body))
        for name in _ELEMENTS:
            if isinstance(elements := part.get(name), list):
                part[name] = [copy(each) for each in cast("list[Any]", elements)]
        for place in places:
            _cut(part, place)
        if part.get("model") is None and self._may_name_a_model(kind):
            return None
        try:
            return kind.model_validate(part)
        except ValidationError:
            return None

    def _may_name_a_model(self, kind: type[_T]) -> bool:
        """Whether a wrong field may be meant as the model: the limits of the default model do not matter then."""
        fields = {place[0] for place in self._places if place}
        return "model" in kind.model_fields and ("model" in fields or bool(fields - set(kind.model_fields)))


def _changes_length(place: tuple[str, ...]) -> bool:
    """Whether the length of the result depends on the value, and with it what fits into a crossfade and a fade."""
    is_element = place[:1] in (("clips",), ("artifact_ids",)) and len(place) < 3
    return is_element or place[:1] == ("transition",) or place[-1:] == ("duration_s",)


def _cut(part: Json, place: tuple[str | int, ...]) -> None:
    """Removes or replaces the value: in a list of elements one field of one element, elsewhere the whole field."""
    if not place:
        return
    field, *below = str(place[0]), *place[1:]
    elements = part.get(field)
    if field in _ELEMENTS and below and isinstance(elements, list):
        _cut_element(cast("list[Any]", elements), int(below[0]), below[1:], substitute=_ELEMENTS[field])
    else:
        _remove(part, field)


def _cut_element(elements: list[Any], index: int, below: Sequence[str | int], *, substitute: Any) -> None:
    element = elements[index]
    if below and isinstance(element, dict):
        _remove(cast("Json", element), str(below[0]))
    else:
        elements[index] = deepcopy(substitute)


def _remove(fields: Json, name: str) -> None:
    fields.pop(name, None)
    if name in _SUBSTITUTES:
        fields[name] = deepcopy(_SUBSTITUTES[name])

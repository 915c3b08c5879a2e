"""Where a task falls into an order that was worked out before it came. Pure; the order itself is `order`'s part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from phoenix.jobs.order import Waiting, turn_tag


@dataclass(frozen=True)
class TaggedTurn:
    """A turn, and by what it won against those of other keys: the smaller one goes first."""

    turn: Waiting
    tag: tuple[float, datetime]


def tag_turns(turns: Iterable[Waiting], served_s: Mapping[str, float]) -> list[TaggedTurn]:
    """The same turns, in the same order; `served_s` is what they were ordered by."""
    served = dict(served_s)
    tagged: list[TaggedTurn] = []
    for turn in turns:
        before_s = served.get(turn.owner_id, 0.0)
        tagged.append(TaggedTurn(turn, turn_tag(before_s, turn)))
        served[turn.owner_id] = before_s + turn.cost_s
    return tagged


def turns_before(line: Sequence[TaggedTurn], late: Waiting, served_s: Mapping[str, float]) -> list[Waiting]:
    """Those that come before a task that was not in line yet, as if all had been ordered anew. One pass."""
    own = [number for number, tagged in enumerate(line) if _is_earlier_of_same_key(tagged.turn, late)]
    after_own = own[-1] + 1 if own else 0
    # Added up in the order of the turns, as there: a sum in another order may differ in its last digit.
    own_s = served_s.get(late.owner_id, 0.0)
    for number in own:
        own_s += line[number].turn.cost_s
    tag = turn_tag(own_s, late)
    # Turns of one key depend on that key alone, so those of the others keep their order, whoever comes.
    others = (number for number in range(after_own, len(line)) if line[number].turn.owner_id != late.owner_id)
    end = next((number for number in others if line[number].tag > tag), len(line))
    return [tagged.turn for tagged in line[:end] if not _is_later_of_same_key(tagged.turn, late)]


def _is_earlier_of_same_key(turn: Waiting, late: Waiting) -> bool:
    return turn.owner_id == late.owner_id and turn.rank < late.rank


def _is_later_of_same_key(turn: Waiting, late: Waiting) -> bool:
    return turn.owner_id == late.owner_id and turn.rank > late.rank

"""What a reel is made from in addition to its prompts: files to upload, and clips of other jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoenix.cli.inputs.arguments import (
    ConditionArgument,
    RoleTexts,
    check_clip_numbers,
    parse_conditions,
    parse_extends,
)
from phoenix.contract import ClipSource


@dataclass(frozen=True)
class ReelInputs:
    """The soundtrack, the conditions and the extended clip of a reel."""

    audio: Path | None = None
    conditions: Sequence[ConditionArgument] = ()
    extends: ClipSource | None = None

    @property
    def files(self) -> list[Path]:
        """Each file once, in the order in which they are uploaded."""
        pictures = (condition.source for condition in self.conditions if isinstance(condition.source, Path))
        return list(dict.fromkeys([*([self.audio] if self.audio else []), *pictures]))

    def of_clip(self, clip: int) -> list[ConditionArgument]:
        """The conditions of a clip. One with the number of the clip replaces each of its role without a number."""
        fitting = [condition for condition in self.conditions if condition.is_for(clip)]
        numbered = {condition.role for condition in fitting if condition.clip is not None}
        return [each for each in fitting if each.clip is not None or each.role not in numbered]

    def add_to(self, body: dict[str, Any], artifact_ids: Mapping[Path, str]) -> dict[str, Any]:
        """The JSON object of a reel with these inputs. `artifact_ids` has the id of each file."""
        added = dict(body)
        added["clips"] = [
            clip | _as_fields(self.of_clip(index), artifact_ids) for index, clip in enumerate(body["clips"])
        ]
        if self.audio is not None:
            added["soundtrack"] = {"artifact_id": artifact_ids[self.audio]}
        if self.extends is not None:
            added["extends"] = self.extends.model_dump()
        return added


def read_inputs(
    num_clips: int,
    *,
    audio: Path | None,
    by_role: RoleTexts,
    further: list[str] | None,
    extends: str | None,
) -> ReelInputs:
    """The inputs that the options give. Ends the command for a wrong text, and for a clip that the reel lacks."""
    conditions = parse_conditions(by_role, further)
    check_clip_numbers(conditions, num_clips)
    return ReelInputs(audio, conditions, parse_extends(extends))


def _as_fields(conditions: Sequence[ConditionArgument], artifact_ids: Mapping[Path, str]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for each in conditions:
        further = {"at_s": each.at_s, "strength": each.strength}
        given = {name: value for name, value in further.items() if value is not None}
        found.append({"role": each.role, "source": _source(each.source, artifact_ids), **given})
    return {"conditions": found} if found else {}


def _source(source: Path | ClipSource | None, artifact_ids: Mapping[Path, str]) -> dict[str, Any]:
    if source is None:
        return {"previous_clip": True}
    return {"artifact_id": artifact_ids[source]} if isinstance(source, Path) else source.model_dump()

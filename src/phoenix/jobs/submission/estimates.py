"""What a reel would take and cost if it was submitted now. Only `plan_job` reads the database; nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phoenix.catalog.resolve import joined_length_s
from phoenix.contract import JobOptions, ResolvedClip, ResolvedReel, WaitingCode
from phoenix.contract.estimates import EstimatedClip, EstimatedPrice, UnknownFigure, WorkEstimate
from phoenix.db import UnitOfWork
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.scheduling.durations import DurationStats, clip_shape
from phoenix.jobs.scheduling.eta import round_estimate
from phoenix.jobs.submission.file_references import lock_references
from phoenix.jobs.submission.submit import new_job, plan_work
from phoenix.jobs.views import QueuePosition
from phoenix.settings import LimitSettings, PriceSettings

_S_PER_HOUR = 3600
_NO_QUEUE = "The queue cannot be read now."


async def plan_job(
    uow: UnitOfWork,
    resolved: ResolvedReel,
    options: JobOptions,
    *,
    owner_id: str,
    limits: LimitSettings,
    earlier: EarlierWork,
) -> FullJob:
    """The job that `submit` would write now, with the clips that it would reuse. It is not written."""
    hashes = await lock_references(uow, resolved, owner_id=owner_id)
    job = await new_job(uow, resolved, options, owner_id=owner_id, limits=limits)
    tasks, _ = await plan_work(uow, job, resolved, hashes, earlier.reusable)
    return FullJob(job, tasks, output=None, resolved=resolved)


@dataclass(frozen=True)
class Prices:
    """What work costs on this server, in one currency. None for what nobody has said."""

    currency: str
    device_hour: float | None = None
    """Of all devices that make a clip together."""
    second_of_video: float | None = None
    """The list price of a remote model."""

    @classmethod
    def from_settings(cls, settings: PriceSettings, *, second_of_video: float | None, devices: int = 1) -> "Prices":
        """The prices of a model of which `devices` make a clip together."""
        hour = None if settings.device_hour is None else settings.device_hour * devices
        return cls(settings.currency, hour, second_of_video)


def estimate_work(
    job: FullJob,
    reel: ResolvedReel,
    durations: DurationStats,
    prices: Prices,
    position: QueuePosition | None,
) -> WorkEstimate:
    """The estimate of a planned job. Pure. `position`: its place in the queue; None for a reel that is held."""
    rendering = {task.position: task for task in job.tasks if task.kind is TaskKind.RENDER}
    clip_s = {
        clip.index: durations.estimate_clip_s(clip_shape(reel.model, clip), rendering[clip.index].weight)
        for clip in reel.renders
        if rendering[clip.index].state is not TaskState.SUCCEEDED
    }
    render_s = _total_s(list(clip_s.values()))
    price = _price(reel, [clip for clip in reel.renders if clip.index in clip_s], render_s, prices)
    waiting = position or QueuePosition()
    return WorkEstimate(
        **{name: getattr(reel, name) for name in ("model", "quality", "width", "height", "fps", "adjustments")},
        duration_s=joined_length_s(reel.transition, reel.part_lengths_s),
        num_frames=sum(clip.num_output_frames for clip in reel.clips),
        renders=len(clip_s),
        clips=[_estimate_clip(clip, reel, clip_s) for clip in reel.clips],
        render_s=None if render_s is None else round_estimate(render_s),
        queue_position=waiting.queue_position,
        waiting_reason=waiting.waiting_reason,
        wait_s=None if waiting.wait_s is None else round_estimate(waiting.wait_s),
        eta_s=waiting.eta_s,
        price=price,
        unknown=_list_unknown(reel, render_s, price, position, prices),
    )


def _total_s(each_s: Sequence[float | None]) -> float | None:
    known = [seconds for seconds in each_s if seconds is not None]
    return sum(known) if len(known) == len(each_s) else None


def _estimate_clip(clip: ResolvedClip, reel: ResolvedReel, clip_s: Mapping[int, float | None]) -> EstimatedClip:
    takes = [each.index for each in reel.renders if each.place == clip.index]
    render_s = _total_s([clip_s[index] for index in takes if index in clip_s])
    width, height = clip.output_size
    return EstimatedClip(
        index=clip.index,
        width=width,
        height=height,
        fps=clip.output_fps or clip.fps,
        num_frames=clip.num_output_frames,
        duration_s=clip.duration_s,
        steps=clip.steps,
        takes=len(takes),
        reused=sum(index not in clip_s for index in takes),
        render_s=None if render_s is None else round_estimate(render_s),
    )


def _price(
    reel: ResolvedReel, rendered: Sequence[ResolvedClip], render_s: float | None, prices: Prices
) -> EstimatedPrice | None:
    if reel.is_remote:
        if prices.second_of_video is None:
            return None
        amount = prices.second_of_video * sum(clip.duration_s for clip in rendered)
        return EstimatedPrice(amount=round(amount, 4), currency=prices.currency, basis="list_price")
    if prices.device_hour is None or render_s is None:
        return None
    amount = prices.device_hour * render_s / _S_PER_HOUR
    return EstimatedPrice(amount=round(amount, 4), currency=prices.currency, basis="device_hour")


def _list_unknown(
    reel: ResolvedReel,
    render_s: float | None,
    price: EstimatedPrice | None,
    position: QueuePosition | None,
    prices: Prices,
) -> list[UnknownFigure]:
    no_clips = f"No clip of {reel.model} has been rendered here yet."
    unknown: dict[str, str] = {}
    if render_s is None:
        unknown["render_s"] = no_clips
    if price is None:
        unknown["price"] = _explain_no_price(reel, prices) or no_clips
    if position is None:
        unknown |= dict.fromkeys(("wait_s", "eta_s"), "It waits for the approval of its draft.")
    else:
        unknown |= _explain_no_wait(position, no_clips if render_s is None else None)
    return [UnknownFigure(name=name, detail=detail) for name, detail in unknown.items()]


def _explain_no_price(reel: ResolvedReel, prices: Prices) -> str | None:
    """Why there is no price, unless the reason is an unknown duration."""
    if reel.is_remote:
        return f"The catalog has no price of {reel.model}: set price_per_s of its entry."
    if prices.device_hour is None:
        return "The operator has not set a price: PHOENIX_PRICES__DEVICE_HOUR."
    return None


def _explain_no_wait(position: QueuePosition, no_clips: str | None) -> dict[str, str]:
    unknown: dict[str, str] = {}
    if position.wait_s is None:
        reason = position.waiting_reason
        is_turn = reason is not None and reason.code is WaitingCode.AHEAD
        detail = "How long the work before it takes is not known." if is_turn else reason and reason.detail
        unknown["wait_s"] = detail or _NO_QUEUE
    if position.eta_s is None:
        unknown["eta_s"] = unknown.get("wait_s") or no_clips or _NO_QUEUE
    return unknown

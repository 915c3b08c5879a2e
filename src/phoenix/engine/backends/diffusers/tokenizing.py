"""Tokenizes prompts for one call at a time, and reports each prompt that a tokenizer cuts at the limit of its encoder.

The tokenizers themselves are watched. The limits are in no other place: HunyuanVideo passes 77 to its CLIP and 351 to
its Llama, whose template has 95 tokens, and HunyuanVideo 1.5 has no argument for its limits.
"""

import html
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from phoenix.contract import PROMPT_CUT, ClipWarning, ResolvedClip
from phoenix.engine.backends.diffusers.step_callbacks import Call, current_call

UNTRUNCATED: dict[str, Any] = {
    "truncation": False,
    "max_length": None,
    "padding": False,
    "return_tensors": None,
    # Without it, the tokenizer logs that the text is too long for the model.
    "verbose": False,
}


def guard_tokenizers(components: Mapping[str, Any]) -> None:
    """Guards every tokenizer of a pipeline: names say nothing. Call it once after loading."""
    guarded: set[int] = set()
    for name, component in components.items():
        encoder = name.replace("tokenizer", "text_encoder")
        for tokenizer in _tokenizers_of(component):
            if id(tokenizer) not in guarded:
                guarded.add(id(tokenizer))
                _guard(tokenizer, encoder=encoder if encoder in components else name)


def _tokenizers_of(component: Any) -> Iterator[Any]:
    """Yields the component if it is a tokenizer, and the tokenizers in it if it is a processor."""
    import transformers  # noqa: PLC0415 (imported under LOAD_LOCK, like every import of it)

    library = cast("Any", transformers)
    is_processor: bool = isinstance(component, library.ProcessorMixin)
    inside: list[Any] = list(cast("dict[str, Any]", vars(component)).values()) if is_processor else [component]
    yield from (part for part in inside if isinstance(part, library.PreTrainedTokenizerBase))


def _guard(tokenizer: Any, *, encoder: str) -> None:
    """Locks a tokenizer, and lets it report cut prompts to the current call.

    A fast tokenizer stores padding and truncation, and concurrent calls would mix them up without an error. `encoder`:
    the component that reads the tokens.
    """
    lock = threading.RLock()
    plain: Any = tokenizer.__class__

    def call_alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = current_call()
        with lock:
            tokens = plain.__call__(self, *args, **kwargs)
            if call is not None and kwargs.get("truncation"):
                limit = kwargs.get("max_length") or self.model_max_length
                whole = plain.__call__(self, *args, **kwargs | UNTRUNCATED).input_ids
                _report_cuts(call, args[0] if args else kwargs["text"], whole, encoder=encoder, limit=limit)
        return tokens

    def encode_alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return plain._encode_plus(self, *args, **kwargs)

    # Python finds `__call__` on the type, and ignores an attribute of the object. `encode` is no call: it goes straight
    # to `_encode_plus`, as Sana does to count the tokens of its instruction.
    methods = {"__call__": call_alone, "_encode_plus": encode_alone}
    tokenizer.__class__ = type(plain.__name__, (plain,), methods)


def _report_cuts(call: Call, text: str | Sequence[str], whole: Any, *, encoder: str, limit: int) -> None:
    """`whole` has the tokens of the text, or of each of the texts, before the cut."""
    texts, rows = ([text], [whole]) if isinstance(text, str) else (text, whole)
    if len(texts) != len(call.rows):
        # Such as the quoted texts of HunyuanVideo 1.5, one by one: in a batch, nothing says whose text it is.
        return
    for request, row_text, ids in zip(call.rows, texts, rows, strict=True):
        if len(ids) > limit:
            call.warn(request, _warning(request.clip, row_text, encoder=encoder, tokens=len(ids), limit=limit))


def _warning(clip: ResolvedClip, text: str, *, encoder: str, tokens: int, limit: int) -> ClipWarning:
    name = "negative prompt" if _is_negative(clip, text) else "prompt"
    message = f"The {name} has {tokens} tokens for {encoder}, which reads {limit}: the rest was cut."
    return ClipWarning(code=PROMPT_CUT, message=message, encoder=encoder, tokens=tokens, limit=limit)


def _is_negative(clip: ResolvedClip, text: str) -> bool:
    """Whether the pipeline made `text` of the negative prompt. It may be cleaned, and be part of a template."""
    prompt, negative, whole = (_normalized(part) for part in (clip.prompt, clip.negative_prompt, text))
    return bool(negative) and negative in whole and prompt not in whole


def _normalized(text: str) -> str:
    """Pipelines replace HTML entities, which may be escaped twice, and join white space."""
    return " ".join(html.unescape(html.unescape(text)).split())

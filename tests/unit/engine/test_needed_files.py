"""Which files of a hub repository are downloaded."""

from phoenix.engine.backends.diffusers.hub.needed_files import find_needed

INDEX = {
    "_class_name": "LTXPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
    "image_encoder": [None, None],
    "boundary_ratio": 0.875,
}


def needed(*paths: str) -> list[str]:
    return find_needed(INDEX, paths)


def test_configurations_tokenizers_and_weights_of_the_components_are_needed():
    paths = ["scheduler/scheduler_config.json", "tokenizer/spiece.model", "tokenizer/tokenizer.json"]
    paths += ["transformer/config.json", "transformer/diffusion_pytorch_model.safetensors"]
    assert needed(*paths) == sorted(paths)


def test_files_beside_the_components_are_not_needed():
    assert needed("README.md", "ltx-video-2b-v0.9.safetensors", "media/trailer.gif", "image_encoder/config.json") == []


def test_pickles_and_code_are_not_needed():
    assert needed("transformer/diffusion_pytorch_model.bin", "transformer/model.ckpt", "scheduler/scheduler.py") == []


def test_a_variant_is_not_needed():
    kept = "transformer/diffusion_pytorch_model.safetensors"
    assert needed(kept, "transformer/diffusion_pytorch_model.bf16.safetensors") == [kept]
    assert needed("text_encoder/model.fp16-00001-of-00002.safetensors") == []


def test_the_shards_are_needed_with_their_index():
    paths = ["text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors"]
    paths += ["text_encoder/model.safetensors.index.json"]
    assert needed(*paths) == sorted(paths)


def test_weights_that_are_there_as_one_file_and_as_shards_are_needed_once():
    shard, index = "transformer/diffusion_pytorch_model-00001-of-00001.safetensors", "diffusion_pytorch_model"
    paths = [shard, f"transformer/{index}.safetensors.index.json", f"transformer/{index}.safetensors"]
    assert needed(*paths) == sorted(paths[:2])


def test_weights_under_the_names_of_both_libraries_are_needed_under_that_of_the_component():
    own = "text_encoder/model.safetensors"
    assert needed(own, "text_encoder/diffusion_pytorch_model.safetensors") == [own]


def test_the_folders_of_a_modular_index_are_needed_and_no_other_repository():
    index = {
        "_class_name": "WanModularPipeline",
        "vae": [None, None, {"type_hint": ["diffusers", "AutoencoderKLWan"], "subfolder": "decoder"}],
        "text_encoder": ["transformers", "T5", {"type_hint": ["transformers", "T5"], "subfolder": "text_encoder"}],
        "enhancer": [None, None, {"type_hint": ["transformers", "G"], "pretrained_model_name_or_path": "a/b"}],
        "scheduler": [None, None, {"type_hint": [None, None], "subfolder": "scheduler"}],
    }
    paths = ["decoder/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]
    assert find_needed(index, [*paths, "vae/config.json", "scheduler/scheduler_config.json"]) == paths

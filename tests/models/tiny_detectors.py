"""Detectors of the real classes as small checkpoints with random weights, each with its processor and tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    PreTrainedTokenizerFast,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    SwinConfig,
)

KINDS = ("grounding-dino", "owlv2", "rt_detr", "rt_detr_v2")
WORDS = ("a", "photo", "of", "person", "car", "traffic", "light")
LABELS = {0: "person", 1: "car", 2: "traffic light"}
CARD = "---\nlicense: mit\n---\n# A tiny one\n"


def write(folder: Path, kind: str, card: str = CARD) -> Path:
    """The folder of a checkpoint of that model type."""
    torch.manual_seed(0)
    model = {"grounding-dino": _grounding, "owlv2": _owl, "rt_detr": _rt_detr, "rt_detr_v2": _rt_detr}[kind](kind)
    model.save_pretrained(folder)
    side = {"height": 64, "width": 64}
    processor: Any = {
        "grounding-dino": lambda: GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}),
        "owlv2": lambda: Owlv2ImageProcessorPil(size=side),
    }.get(kind, lambda: RTDetrImageProcessorPil(size=side))()
    processor.save_pretrained(folder)
    if kind == "grounding-dino":
        _bert_tokenizer().save_pretrained(folder)
    if kind == "owlv2":
        _clip_tokenizer().save_pretrained(folder)
    if card:
        (folder / "README.md").write_text(card)
    return folder


def _rt_detr(kind: str) -> Any:
    backbone_class: Any = RTDetrResNetConfig  # its fields are dataclass fields that pyright does not see
    backbone = backbone_class(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    classes: dict[str, Any] = {
        "rt_detr": (RTDetrConfig, RTDetrForObjectDetection),
        "rt_detr_v2": (RTDetrV2Config, RTDetrV2ForObjectDetection),
    }
    config_class, model_class = classes[kind]
    config = config_class(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[16, 24, 32], encoder_ffn_dim=16,
        encoder_attention_heads=2, d_model=16, num_queries=12, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16,
        decoder_layers=2, decoder_attention_heads=2, num_denoising=0, id2label=LABELS, initializer_bias_prior_prob=0.4,
    )  # fmt: skip
    return model_class(config)


def _grounding(kind: str) -> Any:
    backbone_class: Any = SwinConfig
    backbone = backbone_class(
        window_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], image_size=64,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = BertConfig(
        vocab_size=2000, hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8,
        max_position_embeddings=32,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=12,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=32,
    )  # fmt: skip
    return GroundingDinoForObjectDetection(config)


def _owl(kind: str) -> Any:
    text = {
        "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 16,
    }  # fmt: skip
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=16))
    with torch.no_grad():  # else boxes of random weights have no size, and scores are 0 or 1
        for weight in (*model.box_head.parameters(), *model.class_head.logit_scale.parameters()):
            weight.mul_(0.1)
    return model


def _bert_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's own numbers for its marks: Grounding DINO parts the phrases of its text by them."""
    vocabulary = {f"[unused{k}]": k for k in range(1040)}
    marks = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    vocabulary = {word: k for word, k in vocabulary.items() if k not in marks.values()} | marks
    vocabulary |= {word: 1040 + k for k, word in enumerate(WORDS)}
    tokens = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokens.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokens.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _fast(tokens, ("[CLS]", 101), ("[SEP]", 102), pad="[PAD]", unknown="[UNK]")


def _clip_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: k for k, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", *WORDS))}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    return _fast(tokens, ("<s>", 1), ("</s>", 2), pad="<pad>", unknown="<unk>")


def _fast(
    tokens: Tokenizer, first: tuple[str, int], last: tuple[str, int], *, pad: str, unknown: str
) -> PreTrainedTokenizerFast:
    marks: Sequence[tuple[str, int]] = [first, last]
    tokens.post_processor = processors.TemplateProcessing(
        single=f"{first[0]} $A {last[0]}", pair=None, special_tokens=list(marks)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token=pad, unk_token=unknown)

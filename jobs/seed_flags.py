"""What became of each flag of the seed's training scripts: a field of our recipe, or a reason why there is none.

Read in linkangheng/Video-UTR `scripts/pretrain.sh` and `scripts/sft.sh` (38e7cfa); "-" where a script does not pass it.
docs/training.md shows this table; tests hold both to each other and the fields to the recipe.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeedFlag:
    name: str
    stage1: str
    stage2: str
    fields: tuple[str, ...]  # of TrainRecipe; * is any key; none: it is rejected, or said elsewhere
    note: str

    @property
    def here(self) -> str:
        """In words: where it is said, or why it is not taken."""
        mapped = f"here {', '.join(self.fields)}" if self.fields else "not taken"
        return f"{mapped}: {self.note}" if self.note else mapped

    @property
    def row(self) -> str:
        """Its line in the table of docs/training.md."""
        fields = ", ".join(f"`{field}`" for field in self.fields) or "not taken"
        return f"| `{self.name}` | {self.stage1} | {self.stage2} | {fields} | {self.note} |"


SEED_FLAGS = (
    SeedFlag("nnodes", "8", "8", (), "torchrun's own argument, the same here; with --ray: --workers"),
    SeedFlag("nproc_per_node", "8", "8", (), "as nnodes"),
    SeedFlag("node_rank", "set", "set", (), "as nnodes"),
    SeedFlag("master_addr", "set", "set", (), "as nnodes"),
    SeedFlag("master_port", "set", "set", (), "as nnodes"),
    SeedFlag("deepspeed", "zero3.json", "zero3.json", ("deepspeed.zero", "deepspeed.offload"), "the rest is derived"),
    SeedFlag("model_name_or_path", "Qwen2-7B-Instruct", "never set", ("init.language", "init.checkpoint"), ""),
    SeedFlag("vision_tower", "siglip-so400m-patch14-384", "the same", ("init.vision",), ""),
    SeedFlag("pretrain_mm_mlp_adapter", "-", "mm_projector.bin", ("init.projector",), "ours or LLaVA's file"),
    SeedFlag("version", "plain", "qwen2", ("text.template",), "chat is the tokenizer's own template, as in scoring"),
    SeedFlag("data_path", "blip_laion_cc_sbu_558k", "790K + UTR + VideoChat2", ("data.mix",), "each with a sampling"),
    SeedFlag("image_folder", "set", "set", (), "`utr import --videos ROOT`: the rows carry addresses"),
    SeedFlag("video_folder", "-", "set", (), "as image_folder"),
    SeedFlag(
        "mm_tunable_parts", "mm_mlp_adapter", "all three", ("train.vision", "train.projector", "train.language"),
        "language is all the rest: head, embeddings and newline, too",
    ),
    SeedFlag("learning_rate", "1e-3", "1e-5", ("optim.lr", "optim.projector_lr"), ""),
    SeedFlag("mm_vision_tower_lr", "-", "2e-6", ("optim.vision_lr",), ""),
    SeedFlag("weight_decay", "0", "0", ("optim.weight_decay",), ""),
    SeedFlag("lr_scheduler_type", "cosine", "cosine", ("optim.schedule",), "a function of the step"),
    SeedFlag("warmup_ratio", "0.03", "0.03", ("optim.warmup_ratio",), ""),
    SeedFlag("num_train_epochs", "1", "1", ("data.mix.*.epochs",), "a set"),
    SeedFlag("per_device_train_batch_size", "16", "1", ("batch.samples",), "1,024 and 512 in all are the contract"),
    SeedFlag("gradient_accumulation_steps", "1", "8", ("batch.samples",), "follows from the packs and the ranks"),
    SeedFlag("group_by_modality_length", "-", "True", ("batch.order",), "packed by tokens, visual ones counted"),
    SeedFlag("image_aspect_ratio", "-", "anyres_max_9", ("data.image_tiles",), ""),
    SeedFlag("image_grid_pinpoints", "-", "(1x1),...,(6x6)", (), "of the checkpoint's config; the same in a new one"),
    SeedFlag("mm_patch_merge_type", "-", "spatial_unpad", (), "what the Hugging Face class does, and no other"),
    SeedFlag("frames_upbound", "-", "32", ("data.max_frames",), "evenly of the frames that the set planned"),
    SeedFlag("model_max_length", "8192", "32768", ("text.max_length", "data.overlong"), "never cut inside a picture"),
    SeedFlag("bf16", "True", "True", ("precision",), "float32 master weights"),
    SeedFlag("tf32", "True", "True", (), "what is not bfloat16 is kept exact: loss, norms, optimizer"),
    SeedFlag(
        "gradient_checkpointing", "True", "True",
        ("activation_checkpointing.language", "activation_checkpointing.vision"), "",
    ),
    SeedFlag("torch_compile", "-", "True", (), "every pack has other lengths, so it would compile again and again"),
    SeedFlag("torch_compile_backend", "-", "inductor", (), "as torch_compile"),
    SeedFlag("dataloader_num_workers", "16", "4", ("data.workers",), ""),
    SeedFlag("dataloader_drop_last", "-", "True", ("batch.samples",), "the tail are reserves"),
    SeedFlag("lazy_preprocess", "True", "True", (), "always lazy"),
    SeedFlag("save_strategy", "no", "steps", ("checkpoint.every_steps",), ""),
    SeedFlag("save_steps", "50000", "100", ("checkpoint.every_steps",), ""),
    SeedFlag("save_total_limit", "-", "1", ("checkpoint.keep",), "at least two: a killed save would leave none"),
    SeedFlag("output_dir", "set", "set", ("checkpoint.uri",), "`--out` is the run's folder"),
    SeedFlag("run_name", "set", "set", (), "the name of the folder of `--out`"),
    SeedFlag("logging_steps", "1", "1", (), "always every step, in steps.jsonl"),
    SeedFlag("report_to", "wandb", "wandb", (), "files only: steps.jsonl, TensorBoard events, report.html"),
    SeedFlag("evaluation_strategy", "no", "no", ("watch.every_steps",), "probes on held-out samples"),
    SeedFlag("per_device_eval_batch_size", "4", "4", ("watch.samples",), ""),
    SeedFlag("mm_projector_type", "mlp2x_gelu", "mlp2x_gelu", (), "the class has this one"),
    SeedFlag(
        "mm_vision_select_layer", "-2", "-2", (),
        "the seed's tower drops its last layer and ignores the number: a tower of 26 layers, last output (-1)",
    ),
    SeedFlag("mm_use_im_start_end", "False", "False", (), "the class has no such tokens"),
    SeedFlag("mm_use_im_patch_token", "False", "False", (), "the class has no such tokens"),
)  # fmt: skip
DEFAULTS = (  # not passed, and their defaults matter
    SeedFlag("mm_newline_position", "grid", "grid", (), "one a video, as in the class: 196 tokens a frame, not 210"),
    SeedFlag("video_fps", "1", "1", (), "frames are those that the set planned: `utr build`, `utr import --frames`"),
    SeedFlag("force_sample", "False", "False", (), "as video_fps"),
    SeedFlag("attn_implementation", "flash_attention_2", "the same", ("attention",), "sdpa here: nothing to build"),
    SeedFlag("adam_beta1", "0.9", "0.9", ("optim.betas",), ""),
    SeedFlag("adam_beta2", "0.999", "0.999", ("optim.betas",), ""),
    SeedFlag("adam_epsilon", "1e-8", "1e-8", ("optim.eps",), ""),
    SeedFlag("max_grad_norm", "1.0", "1.0", ("optim.max_grad_norm",), ""),
    SeedFlag("seed", "42", "42", ("seed",), ""),
)  # fmt: skip
BY_NAME = {flag.name: flag for flag in (*SEED_FLAGS, *DEFAULTS)}

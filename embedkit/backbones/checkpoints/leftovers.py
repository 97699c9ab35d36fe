"""Tensors of a checkpoint that are right to leave: no part of the features, and known by name."""

from __future__ import annotations

from embedkit.backbones.checkpoints.wrappers import bare

# What a tensor is, by what its name (without wrappers) begins with: whole parts between dots.
KNOWN = {
    "classifier": """
        fc head heads head_dist head_drop classifier classifiers linear last_linear cls_head aux_head
        auxiliary_head aux_classifier online_classifier linear_head lin logits AuxLogits loss_head score
        linear_classifier cls_classifier distillation_classifier
    """,
    "head of DINO or iBOT": """
        dino_head ibot_head head.mlp head.last_layer dino_loss ibot_loss ibot_patch_loss dino_center
        ibot_center center prototypes local_cls_norm koleo koleo_loss
    """,
    "mask token": "mask_token masked_embed embeddings.mask_token visual.mask_token",
    "projector of pretraining": """
        projector projectors projection projections projecter projection_head projection_mlp proj_head
        prediction_head prediction_mlp predictor predictors prediction momentum_projector momentum_predictor
        momentum_classifier mlp_head contrastive_head simclr_head neck encoder_to_decoder head_q head_k
        teacher_head student_head online_head momentum_head projection_head_momentum
        teacher_projection_head student_projection_head online_projection_head momentum_projection_head
    """,
    "queue or memory of pretraining": """
        queue queue_ptr queue2 queue_ptr2 memory_bank bank bank_ptr nn_replacer swav_queue
    """,
    "decoder or head of masked pretraining": """
        decoder decoder_embed decoder_pos_embed decoder_blocks decoder_norm decoder_pred lm_head mim_head
        rec_head reconstruction_head
    """,
    "pooler of transformers": "pooler",
    "text encoder": """
        transformer.resblocks token_embedding ln_final positional_embedding text_projection logit_scale
        logit_bias text visual_projection text_model text_encoder text_decoder
    """,
    "sizes of CLIP": "input_resolution context_length vocab_size",
    "heads and statistics of RADIO": "input_conditioner summary_idxs radio_model.input_conditioner",
    "count of averaged steps": "n_averaged num_updates step initted current_step global_step",
    "loss or scores of training": """
        criterion criterions loss losses loss_fn loss_func loss_function train_loss val_loss metrics accuracy
        acc train_acc val_acc test_acc train_accuracy val_accuracy test_accuracy train_metrics val_metrics
        test_metrics valid_acc valid_metrics
    """,
    "normalisation of pixels": "normalize normalizer norm_mean norm_std pixel_mean pixel_std mean std",
}
# What a tensor is, by what its name ends with, wherever in the network it stands.
KNOWN_ENDS = {
    "count of batches": "num_batches_tracked",
    "computed from the size": """
        relative_position_index relative_coords_table attn_mask position_ids attention_bias_idxs
    """,
    "positions of rotary embedding": "rope_embed.periods rope.periods inv_freq bias_mask",
}


def leftover(name: str) -> str | None:
    """Say what a tensor is that is right to leave; None where it isn't known to be."""
    for one in (bare(name), name):
        for what, words in KNOWN.items():
            if any(one == word or one.startswith(f"{word}.") for word in words.split()):
                return what
        for what, words in KNOWN_ENDS.items():
            if any(one == word or one.endswith(f".{word}") for word in words.split()):
                return what
    return None

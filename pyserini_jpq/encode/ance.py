"""The head of ANCE, STAR and JPQ: RoBERTa's first token, a linear layer, a layer norm."""

import torch
from torch import nn
from transformers import RobertaConfig, RobertaModel, RobertaPreTrainedModel


class AnceBackbone(RobertaPreTrainedModel):
    """RoBERTa with the embedding head of Xiong et al. (ICLR 2021); parameters are named as in the published weights."""

    config_class = RobertaConfig

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.embeddingHead = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode [B, L] token ids to [B, D]."""
        # Published configurations may say return_dict: false.
        states = self.roberta(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        pooled: torch.Tensor = self.norm(self.embeddingHead(states[:, 0]))
        return pooled

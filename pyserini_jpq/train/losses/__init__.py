"""The losses by name: each takes the index's own scores of the candidates of a batch and returns a scalar."""

from collections.abc import Callable

import torch

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.losses.distillation import distillation_loss
from pyserini_jpq.train.losses.hinge import hinge_loss
from pyserini_jpq.train.losses.lambda_ndcg import lambda_ndcg_loss
from pyserini_jpq.train.losses.lambda_rr import lambda_rr_loss
from pyserini_jpq.train.losses.listwise import listwise_loss
from pyserini_jpq.train.losses.margin_mse import margin_mse_loss
from pyserini_jpq.train.losses.ranknet import ranknet_loss

LabelLoss = Callable[[torch.Tensor, Candidates], torch.Tensor]
TeacherLoss = Callable[..., torch.Tensor]

LABEL_LOSSES: dict[str, LabelLoss] = {
    "lambda-rr": lambda_rr_loss,
    "lambda-ndcg": lambda_ndcg_loss,
    "ranknet": ranknet_loss,
    "hinge": hinge_loss,
    "listwise": listwise_loss,
}
TEACHER_LOSSES: dict[str, TeacherLoss] = {"distill": distillation_loss, "margin-mse": margin_mse_loss}

"""The losses, on one page: each takes the index's scores of the candidates of a batch and returns a scalar.

Notation: s is the index's score of a candidate, s⁺ that of a labelled positive, s⁻ that of a candidate with a lower
grade or none; r is a rank, g a grade, t a teacher's score; ⟨·⟩ is the mean over the pairs or candidates of a query.
Every loss is the mean over the B queries. Scores are [B, P + C] float32: P columns of positives, then C others.

    lambda-rr     (1)  ⟨ |1/r⁻ - 1/r⁺| · log(1 + exp(s⁻ - s⁺)) ⟩                      JPQ (section 4), ranking-oriented:
                                                                                      equation 16 as we count
    lambda-ndcg   (2)  Σ |ΔnDCG| · log(1 + exp(s⁻ - s⁺))                              Burges, MSR-TR-2010-82, section 4
    ranknet       (3)  ⟨ log(1 + exp(s⁻ - s⁺)) ⟩                                      Burges et al., ICML 2005
    hinge         (4)  ⟨ max(0, 1 + s⁻ - s⁺) ⟩
    listwise      (5)  ⟨ -log(exp s⁺ / (exp s⁺ + Σ exp s⁻)) ⟩, weighted by g⁺
    distill       (6)  T² · KL(softmax(t / T) ‖ softmax(s / T))                       Xiao et al., SIGIR 2022
    margin-mse    (7)  ⟨ ((s - s*) - (t - t*))² ⟩                                     Hofstätter et al., 2020

Equation 19 of JPQ is the gradient of the pair loss in the centroids: minus a·q for the positive's own centroid, plus
a·q for the negative's, where a is 1 / (1 + exp(s⁺ - s⁻)), times the weight of the pair in (1); 0 for a centroid that
both share. Autograd derives it from `JPQModel.score`; `test_centroids_move_as_the_paper_says` compares both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from pyserini_jpq.train.candidates import Candidates

LabelLoss = Callable[[torch.Tensor, Candidates], torch.Tensor]
TeacherLoss = Callable[..., torch.Tensor]

MARGIN = 1.0


def lambda_rr_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (1), the ranking-oriented loss of JPQ: a pair's weight is the change of 1/r when its ranks are swapped.

    A document that was not retrieved has an infinite rank: its 1/r is 0.
    """
    pairs = Pairs.of(candidates)
    weights = pairs.difference(1 / candidates.ranks).abs()
    return pairs.mean(_logistic(pairs.difference(scores)), weights)


def lambda_ndcg_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (2), LambdaRank for graded labels: a pair's weight is the change of nDCG when its ranks are swapped.

    The gain is 2^g - 1, the discount 1 / log2(1 + r); the ideal ranking holds all labelled positives of the query.
    Pairs are summed, not averaged: the weights of a query add up to a few units at most.
    """
    pairs = Pairs.of(candidates)
    gains = 2**candidates.grades - 1
    discounts = 1 / torch.log2(1 + candidates.ranks)
    best = (gains * candidates.mask)[:, : candidates.positives].sort(dim=1, descending=True).values
    places = torch.arange(1, best.shape[1] + 1, device=scores.device)
    ideal = (best / torch.log2(1 + places)).sum(dim=1).clamp(min=1e-6)
    changes = (pairs.difference(gains) * pairs.difference(discounts)).abs() / ideal[pairs.query][:, None]
    return pairs.total(_logistic(pairs.difference(scores)) * changes * pairs.mask).mean()


def ranknet_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (3): all pairs have the same weight."""
    pairs = Pairs.of(candidates)
    return pairs.mean(_logistic(pairs.difference(scores)))


def hinge_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (4): a positive should score at least a margin of 1 above every negative."""
    pairs = Pairs.of(candidates)
    return pairs.mean(functional.relu(MARGIN + pairs.difference(scores)))


def listwise_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (5): each positive against all candidates without a label; other positives are not in the denominator.

    A query without a positive counts 0.
    """
    positive = scores[:, : candidates.positives]
    lowest = torch.finfo(scores.dtype).min
    negatives = scores.masked_fill(~candidates.negative_mask(), lowest).logsumexp(dim=1, keepdim=True)
    losses = _logistic(negatives - positive)
    weights = candidates.grades[:, : candidates.positives] * candidates.positive_mask()
    return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)).mean()


def with_listwise(loss: LabelLoss, weight: float) -> LabelLoss:
    """Return a loss plus `weight` times (5), which minds the labelled documents that stand far down, too."""

    def both(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
        return loss(scores, candidates) + weight * listwise_loss(scores, candidates)

    return both


def distillation_loss(
    scores: torch.Tensor, teacher: torch.Tensor, candidates: Candidates, temperature: float = 1.0
) -> torch.Tensor:
    """Return (6), label-free distillation as in LibVQ: the index should rank as the teacher does.

    Parameters
    ----------
    scores
        [B, P + C] float32, the index's scores.
    teacher
        [B, P + C] float32, the teacher's scores; NaN where it has none.
    candidates
        The scored documents.
    temperature
        T; the factor T² keeps the size of gradients independent of T (Hinton et al., 2015, section 2).
    """
    known = candidates.mask & ~teacher.isnan()
    lowest = torch.finfo(scores.dtype).min
    target = (teacher / temperature).masked_fill(~known, lowest).log_softmax(dim=1)
    ours = (scores / temperature).masked_fill(~known, lowest).log_softmax(dim=1)
    differences = (target - ours).masked_fill(~known, 0.0)
    return temperature**2 * (target.exp() * differences).sum(dim=1).mean()


def margin_mse_loss(scores: torch.Tensor, teacher: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return (7): score differences should equal the teacher's, [B, P + C] float32, NaN where it has no score.

    * is the teacher's best document: among the labelled positives if it scores any, else among all. Queries with fewer
    than two scored documents count 0.
    """
    known = candidates.mask & ~teacher.isnan()
    labelled = known & (candidates.grades > 0)
    eligible = torch.where(labelled.any(dim=1, keepdim=True), labelled, known)
    best = teacher.masked_fill(~eligible, -torch.inf).argmax(dim=1, keepdim=True)
    targets = torch.where(known, teacher, 0.0)
    errors = ((scores - scores.gather(1, best)) - (targets - targets.gather(1, best))).square()
    return ((errors * known).sum(dim=1) / (known.sum(dim=1) - 1).clamp(min=1)).mean()


LABEL_LOSSES: dict[str, LabelLoss] = {
    "lambda-rr": lambda_rr_loss,
    "lambda-ndcg": lambda_ndcg_loss,
    "ranknet": ranknet_loss,
    "hinge": hinge_loss,
    "listwise": listwise_loss,
}
TEACHER_LOSSES: dict[str, TeacherLoss] = {"distill": distillation_loss, "margin-mse": margin_mse_loss}


def _logistic(differences: torch.Tensor) -> torch.Tensor:
    """Return log(1 + exp(x)) without overflow."""
    return functional.softplus(differences)


@dataclass(frozen=True)
class Pairs:
    """The T labelled positives of a batch, each paired with all P + C candidates of its query.

    There is no row for padding, as the number of positives differs widely between queries.

    Attributes
    ----------
    query : torch.Tensor
        [T] int64, index of the positive's query in the batch.
    column : torch.Tensor
        [T] int64, its column among the P columns of positives.
    mask : torch.Tensor
        [T, P + C] bool, the pairs that count: both are documents, and the positive has the higher grade.
    queries : int
        B.
    """

    query: torch.Tensor
    column: torch.Tensor
    mask: torch.Tensor
    queries: int

    @classmethod
    def of(cls, candidates: Candidates) -> "Pairs":
        """Return all pairs of a batch."""
        query, column = candidates.positive_mask().nonzero(as_tuple=True)
        higher = candidates.grades[query, column][:, None] > candidates.grades[query]
        return cls(query, column, higher & candidates.mask[query], len(candidates.mask))

    def difference(self, values: torch.Tensor) -> torch.Tensor:
        """Return the candidate's value minus the positive's, [B, P + C] to [T, P + C]."""
        return values[self.query] - values[self.query, self.column][:, None]

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the pairs of each query, [T, P + C] (0 where masked) to [B]."""
        return values.new_zeros(self.queries).index_add(0, self.query, values.sum(dim=1))

    def mean(self, losses: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weighted mean over the pairs of each query, averaged over queries; no pairs count 0."""
        counted = self.mask.to(losses.dtype)
        sums = self.total(losses * (counted if weights is None else weights * counted))
        return (sums / self.total(counted).clamp(min=1)).mean()

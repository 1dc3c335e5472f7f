"""The training loop, from top to bottom: encode, search, score, loss, update."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from pyserini_jpq.errors import TrainingError
from pyserini_jpq.train.averaging import Averaging
from pyserini_jpq.train.candidates import make_candidates
from pyserini_jpq.train.checkpoint import Checkpoints, random_state, set_random_state
from pyserini_jpq.train.data import Batches, TrainingQuery
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.log import Log
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.negatives import Negatives
from pyserini_jpq.train.objective import Objective
from pyserini_jpq.train.optimizer import make_optimizer, make_schedule
from pyserini_jpq.train.recipe import Recipe
from pyserini_jpq.train.stop import StopRequest
from pyserini_jpq.train.timer import Clock

Scorer = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Pace:
    """When things happen besides the steps, and how a step is computed.

    Attributes
    ----------
    eval_every
        Steps from one evaluation on the dev queries to the next; None: once an epoch.
    patience
        Evaluations without a new best after which training ends; None: never.
    checkpoint_every, log_every
        Steps from one to the next.
    accumulate
        Parts that a batch is computed in, one after the other.
    dtype
        What the encoder computes in.
    """

    eval_every: int | None = None
    patience: int | None = None
    checkpoint_every: int = 1000
    log_every: int = 10
    accumulate: int = 1
    dtype: torch.dtype = torch.float32


class Trainer:
    """Trains a model on queries by a recipe.

    Parameters
    ----------
    model
        Query encoder and centroids, on the device to train on.
    score
        What gives the scores that the loss sees, [B, D] rotated queries and [B, C] rows to [B, C]: `model.score`, or
        that of the original embeddings.
    negatives
        Where the documents of a step come from.
    objective
        The loss.
    batches
        Of training queries.
    recipe
        The numbers.
    scale
        What scores are multiplied by in the loss.
    evaluate
        Returns the dev metric of the model as it is now; None where there are no dev queries.
    checkpoints, log
        Where they are written.
    pace
        When.
    ranks
        The processes that train together.
    """

    def __init__(
        self,
        model: JPQModel,
        score: Scorer,
        negatives: Negatives,
        objective: Objective,
        batches: Batches,
        recipe: Recipe,
        scale: float,
        evaluate: Callable[[], float] | None,
        checkpoints: Checkpoints,
        log: Log,
        pace: Pace,
        ranks: Ranks,
    ) -> None:
        self.model = model
        self.score = score
        self.negatives = negatives
        self.objective = objective
        self.batches = batches
        self.recipe = recipe
        self.scale = scale
        self.evaluate = evaluate
        self.checkpoints = checkpoints
        self.log = log
        self.pace = pace
        self.ranks = ranks
        self.device = model.codes.device
        self.total = (recipe.epochs or 1) * batches.per_epoch
        self.optimizer = make_optimizer(model, recipe)
        self.schedule = make_schedule(self.optimizer, recipe, self.total)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=pace.dtype == torch.float16)
        self.clock = Clock(self.device)
        self.step_number = 0
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_metric = float("-inf")
        self.averaging: Averaging | None = None

    def step(self, batch: Sequence[TrainingQuery]) -> float:
        """Take one step of the paper's algorithm and return its loss, the mean over the queries of the batch."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        self.clock.start()
        for part in self._parts(self.ranks.share(batch)):
            with torch.autocast(self.device.type, self.pace.dtype, enabled=self.pace.dtype != torch.float32):
                queries = self.model.encode([query.text for query in part])
            queries = queries.float()
            self.clock.done("encode")
            chosen = self.negatives.choose(self.step_number, part, queries)
            self.clock.done("search")
            candidates = make_candidates(
                part, chosen, chosen.shape[1] if self.negatives.ranked else 0, self.recipe.in_batch_negatives
            )
            scores = self.score(queries, candidates.offsets) * self.scale
            if not self.negatives.ranked:
                candidates = candidates.ranked_by(scores)
            loss = self.objective(part, scores, candidates) * (len(part) / len(batch))
            total += loss.detach()
            self.clock.done("loss")
            self.scaler.scale(loss).backward()
            self.clock.done("update")
        value = self.ranks.sum(total).item()
        self._refuse_nonfinite(value, batch)
        self._update()
        self.clock.done("update")
        return value

    def _parts(self, share: Sequence[TrainingQuery]) -> Iterator[Sequence[TrainingQuery]]:
        """Give what this process has of a batch, in as many parts as gradients are accumulated over."""
        size = max(1, -(-len(share) // self.pace.accumulate))
        for start in range(0, len(share), size):
            yield share[start : start + size]

    def _update(self) -> None:
        """Change encoder, centroids and biases by the gradients of the whole batch."""
        encoder, *of_index = (group["params"] for group in self.optimizer.param_groups)
        self.ranks.sum_gradients([*encoder, *(p for group in of_index for p in group)])
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(encoder, self.recipe.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.step_number += 1

    def run(self) -> None:
        """Train to the end, or until interrupted; then leave a checkpoint. The best model so far is in `best`.

        Raises
        ------
        KeyboardInterrupt
            When a signal asked to stop: the step was finished and a checkpoint written.
        """
        eval_every = self.pace.eval_every or self.batches.per_epoch
        if self.step_number == 0:
            self._evaluate()
        with (
            StopRequest() as stop,
            tqdm(
                total=self.total,
                initial=self.step_number,
                desc="training",
                unit=" steps",
                disable=not self.ranks.is_first,
            ) as progress,
        ):
            while self.step_number < self.total and not self._has_converged():
                self.losses.append(self.step(self.batches[self.step_number]))
                if self.step_number % self.pace.log_every == 0 or self.step_number == self.total:
                    self.log.write(self.step_number, self._figures())
                if self.step_number % eval_every == 0 or self.step_number == self.total:
                    self._evaluate()
                progress.update()
                progress.set_postfix_str(self._status(), refresh=False)
                asked = self.ranks.any(stop.requested)
                if self.step_number < self.total and (asked or self.step_number % self.pace.checkpoint_every == 0):
                    self.checkpoints.save(self.step_number, self.state())
                if asked and self.step_number < self.total:
                    raise KeyboardInterrupt(
                        f"stopped after step {self.step_number} of {self.total}; the same command goes on from there"
                    )
        # Should writing the outputs fail, the same command writes them without training again.
        self.checkpoints.save(self.step_number, self.state())

    def take_best(self) -> tuple[float, dict[float, float]]:
        """Let the model be the best one that an evaluation has seen, else the last; then average it with the first.

        Returns
        -------
        As `Averaging.apply`.
        """
        if self.best is not None:
            self.model.load_state_dict(self.best)
        return self.averaging.apply() if self.averaging else (1.0, {})

    def state(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "negatives": self.ranks.gathered(self.negatives.state()),
            "random": self.ranks.gathered(random_state(self.device)),
            "step": self.step_number,
            "losses": self.losses,
            "history": self.history,
            "best": self.best,
            "best_metric": self.best_metric,
        }

    def resume(self) -> bool:
        """Take up the newest checkpoint; False where there is none.

        Raises
        ------
        TrainingError
            If there are checkpoints, but none can be read.
        """
        state = self.checkpoints.newest()
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.negatives.load_state(state["negatives"][self.ranks.rank])
        set_random_state(state["random"][self.ranks.rank], self.device)
        self.step_number = state["step"]
        self.losses = state["losses"]
        self.history = state["history"]
        self.best = state["best"]
        self.best_metric = state["best_metric"]
        self.log.rewind(self.step_number)
        return True

    def _evaluate(self) -> None:
        """Measure on the dev queries, and keep the model if it is the best so far."""
        if self.evaluate is None:
            return
        metric = self.ranks.from_first(self.evaluate() if self.ranks.is_first else None)
        self.history.append({"step": self.step_number, "dev": metric})
        self.log.write(self.step_number, {"dev": metric})
        if metric > self.best_metric:
            self.best_metric = metric
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def _has_converged(self) -> bool:
        """Tell whether the last evaluations brought nothing better."""
        if self.pace.patience is None or not self.history:
            return False
        best = max(range(len(self.history)), key=lambda i: self.history[i]["dev"])
        return len(self.history) - 1 - best >= self.pace.patience

    def _figures(self) -> dict[str, float]:
        names = ("lr", "centroid_lr", "bias_lr")
        rates = {name: group["lr"] for name, group in zip(names, self.optimizer.param_groups, strict=True)}
        recent = self.losses[-self.pace.log_every :]
        times = {f"{phase}_ms": round(time, 2) for phase, time in self.clock.read().items()}
        return {"loss": sum(recent) / len(recent), **rates, **times}

    def _status(self) -> str:
        recent = self.losses[-50:]
        dev = f", dev {self.history[-1]['dev']:.4f} (best {self.best_metric:.4f})" if self.history else ""
        return f"loss {sum(recent) / len(recent):.4f}{dev}"

    def _refuse_nonfinite(self, value: float, batch: Sequence[TrainingQuery]) -> None:
        if value == value and abs(value) != float("inf"):
            return
        last = self.checkpoints.newest_path()
        raise TrainingError(
            f"the loss is {value} at step {self.step_number + 1} (queries {', '.join(q.qid for q in batch)}); "
            f"the last good checkpoint is {last or 'none'}; lower --lr, --centroid-lr or --score-scale"
        )

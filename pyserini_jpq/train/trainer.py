"""The training loop, from top to bottom: encode, search, score, loss, update."""

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from pyserini_jpq import cli
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.train.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state
from pyserini_jpq.train.data import TrainingQuery, batches, pad_positives
from pyserini_jpq.train.losses import reciprocal_rank_loss
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.negatives import FaissSearch, TorchSearch, split_candidates
from pyserini_jpq.train.recipe import Recipe

Best = dict[str, torch.Tensor]


class Trainer:
    """Trains a model on queries, live negatives and a recipe.

    Parameters
    ----------
    model
        Query encoder and centroids, on the device to train on.
    search
        Of the index in training.
    queries
        Training queries.
    recipe
        The numbers.
    evaluate
        Returns the dev metric of the model as it is now; None where there are no dev queries.
    folder
        Where checkpoints go.
    checkpoint_every
        Steps from one checkpoint to the next.
    """

    def __init__(
        self,
        model: JPQModel,
        search: FaissSearch | TorchSearch,
        queries: Sequence[TrainingQuery],
        recipe: Recipe,
        evaluate: Callable[[], float] | None,
        folder: Path,
        checkpoint_every: int,
    ) -> None:
        self.model = model
        self.search = search
        self.queries = queries
        self.recipe = recipe
        self.evaluate = evaluate
        self.folder = folder
        self.checkpoint_every = checkpoint_every
        self.device = model.codes.device
        self.scale = recipe.score_scale or model.tower.card.training_scale
        self.total = recipe.total_steps(len(queries))
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(model.tower.parameters()), "lr": recipe.lr, "weight_decay": recipe.weight_decay},
                {"params": [model.centroids], "lr": recipe.centroid_lr, "weight_decay": 0.0},
            ],
            eps=1e-8,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step_number = 0
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: Best | None = None
        self.best_metric = float("-inf")

    def step(self, batch: Sequence[TrainingQuery]) -> float:
        """Take one step of the paper's algorithm and return its loss."""
        self.model.train()
        queries = self.model.encode([query.text for query in batch])
        retrieved = self.search.search(queries.detach(), self.recipe.negatives)
        positives, positive_mask = pad_positives(batch, self.device)
        negative_mask, positive_ranks = split_candidates(retrieved, positives, positive_mask)
        scores = self.model.score(queries, torch.cat([positives, retrieved], dim=1)) * self.scale
        positive_scores, negative_scores = scores.split([positives.shape[1], retrieved.shape[1]], dim=1)
        negative_ranks = torch.arange(1, retrieved.shape[1] + 1, device=self.device).expand_as(retrieved)
        loss = reciprocal_rank_loss(
            positive_scores, negative_scores, positive_ranks, negative_ranks, positive_mask, negative_mask
        )
        value = loss.item()
        if value != value or value in (float("inf"), float("-inf")):
            raise TrainingError(
                f"the loss is {value} at step {self.step_number + 1} (queries {', '.join(q.qid for q in batch)}); "
                "lower --lr, --centroid-lr or --score-scale"
            )
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.tower.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step_number += 1
        return value

    def run(self) -> None:
        """Train to the end, or until interrupted; then leave a checkpoint.

        Raises
        ------
        KeyboardInterrupt
            When a signal asked to stop: the step was finished and a checkpoint written.
        """
        per_epoch = self.recipe.steps_per_epoch(len(self.queries))
        if self.step_number == 0:
            self._evaluate()
        stream = batches(self.queries, self.recipe.batch_size, self.recipe.seed, self.step_number)
        with (
            StopRequest() as stop,
            tqdm(total=self.total, initial=self.step_number, desc="training", unit=" steps") as progress,
        ):
            while self.step_number < self.total:
                self.losses.append(self.step(next(stream)))
                if self.step_number % per_epoch == 0:
                    self._evaluate()
                progress.update()
                progress.set_postfix_str(self._status(), refresh=False)
                if stop.requested and self.step_number < self.total:
                    save_checkpoint(self.folder, self.state())
                    raise KeyboardInterrupt(
                        f"stopped after step {self.step_number} of {self.total}; the same command goes on from there"
                    )
                if self.step_number % self.checkpoint_every == 0 and self.step_number < self.total:
                    save_checkpoint(self.folder, self.state())
        if self.best is not None:
            self.model.load_state_dict(self.best)

    def state(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.device),
            "step": self.step_number,
            "losses": self.losses,
            "history": self.history,
            "best": self.best,
            "best_metric": self.best_metric,
        }

    def resume(self) -> bool:
        """Take up the newest checkpoint; False where there is none."""
        state = load_checkpoint(self.folder)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        set_random_state(state["random"], self.device)
        self.step_number = state["step"]
        self.losses = state["losses"]
        self.history = state["history"]
        self.best = state["best"]
        self.best_metric = state["best_metric"]
        return True

    def _rate(self, step: int) -> float:
        """Learning rates rise over the warm-up, then fall to nothing, both linearly."""
        warmup = self.recipe.warmup_steps(self.total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (self.total - step) / max(1, self.total - warmup))

    def _evaluate(self) -> None:
        """Measure on the dev queries, and keep the model if it is the best so far."""
        if self.evaluate is None:
            return
        metric = self.evaluate()
        self.history.append({"step": self.step_number, "dev": metric})
        if metric > self.best_metric:
            self.best_metric = metric
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def _status(self) -> str:
        recent = self.losses[-50:]
        dev = f", dev {self.history[-1]['dev']:.4f} (best {self.best_metric:.4f})" if self.history else ""
        return f"loss {sum(recent) / len(recent):.4f}{dev}"


class StopRequest:
    """Within this block a first Ctrl-C or SIGTERM asks to stop after the step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Take the signals over."""
        # Only the main thread may set handlers; elsewhere (a notebook's worker) signals are somebody else's.
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt("stopped at once; the same command goes on from the last checkpoint")
        self.requested = True
        cli.say("\nstopping after this step; a checkpoint will be written (again to stop at once)")

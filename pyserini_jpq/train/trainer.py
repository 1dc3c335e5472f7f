"""The training loop: encode, search, score, loss, update."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pyserini_jpq.bars import Progress
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.train.averaging import average, best, preferred, trained_weights
from pyserini_jpq.train.candidates import make_candidates
from pyserini_jpq.train.checkpoint import Checkpoints, random_state, set_random_state
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.dev import DevSet
from pyserini_jpq.train.log import FILE, Log
from pyserini_jpq.train.machine import Machine
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.optimizer import make_optimizer, make_schedule
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.stop import StopRequest
from pyserini_jpq.train.supervision import Supervision
from pyserini_jpq.train.timer import Timer


class Trainer:
    """Trains a model on queries.

    Parameters
    ----------
    model
        Query encoder and index before training, with gradients for what is trained.
    supervision
        What a step learns from: queries, negatives, scores, loss.
    options
        Complete options.
    machine
        Device and processes of the training.
    folder
        Folder for checkpoints and the log.
    dev
        Queries to evaluate on, if there are any.
    """

    def __init__(
        self,
        model: JPQModel,
        supervision: Supervision,
        options: TrainOptions,
        machine: Machine,
        folder: Path,
        dev: DevSet | None = None,
    ) -> None:
        self.model = model
        self.batches = supervision.batches
        self.negatives = supervision.negatives
        self.score = supervision.score
        self.scale = supervision.scale
        self.objective = supervision.objective
        self.options = options
        self.device = machine.device
        self.dtype = machine.dtype
        self.ranks = machine.ranks
        self.dev = dev
        self.checkpoints = Checkpoints(folder, options.keep_checkpoints, self.ranks.is_first)
        self.log = Log(folder / FILE, options.tensorboard) if self.ranks.is_first else Log(None)
        self.total = (options.epochs or 1) * self.batches.per_epoch
        self.optimizer = make_optimizer(model, options)
        self.schedule = make_schedule(self.optimizer, options, self.total)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.timer = Timer(self.device)
        self.start = trained_weights(model) if options.trained_share != 1 else None
        self.step_number = 0
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_metric = float("-inf")

    def step(self, batch: Sequence[TrainingQuery]) -> float:
        """Take one step of the paper's algorithm and return its loss, the mean over the batch."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        self.timer.start()
        for part in self._parts(batch):
            if not part:
                self._attend()
                continue
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                queries = self.model.encode([query.text for query in part])
            queries = queries.float()
            self.timer.done("encode")
            chosen = self.negatives.choose(self.step_number, part, queries)
            self.timer.done("search")
            candidates = make_candidates(
                part, chosen, chosen.shape[1] if self.negatives.ranked else 0, self.options.in_batch_negatives
            )
            scores = self.score(queries, candidates.offsets) * self.scale
            if not self.negatives.ranked:
                candidates = candidates.ranked_by(scores)
            loss = self.objective(part, scores, candidates) * (len(part) / len(batch))
            total += loss.detach()
            self.timer.done("loss")
            self.scaler.scale(loss).backward()
            self.timer.done("update")
        value = self.ranks.sum(total).item()
        self._refuse_nonfinite(value, batch)
        self._update()
        self.timer.done("update")
        return value

    def _parts(self, batch: Sequence[TrainingQuery]) -> Iterator[Sequence[TrainingQuery]]:
        """Yield this process's share of a batch, in the parts over which gradients are accumulated.

        Where another process has more parts, empty ones follow: all take the same number.
        """
        share, world = self.ranks.share(batch), self.ranks.world
        most = max(len(self._starts(len(batch[rank::world]))) for rank in range(world))
        starts = self._starts(len(share))
        for start in starts:
            yield share[start : start + starts.step]
        yield from [()] * (most - len(starts))

    def _starts(self, queries: int) -> range:
        """Return where the parts of so many queries start."""
        return range(0, queries, max(1, -(-queries // self.options.accumulate)))

    def _attend(self) -> None:
        """Take part in what the other processes search and look up, without a query."""
        nothing = torch.empty(0, self.model.rotation.shape[0], device=self.device)
        self.negatives.attend(self.step_number, nothing)
        self.score(nothing, nothing.long())

    def _update(self) -> None:
        """Update encoder, centroids and biases by the gradients of the whole batch."""
        encoder, *of_index = (group["params"] for group in self.optimizer.param_groups)
        self.ranks.sum_gradients([*encoder, *(p for group in of_index for p in group)])
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(encoder, self.options.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.step_number += 1

    def run(self) -> None:
        """Train to the end or until interrupted, and write a checkpoint; `best` holds the best model so far.

        Raises
        ------
        KeyboardInterrupt
            After a signal to stop; the step has been finished and a checkpoint written.
        """
        if self.step_number == 0:
            self._evaluate()
        with StopRequest() as stop, self._progress() as progress:
            while self.step_number < self.total and not self._has_converged():
                self.losses.append(self.step(self.batches[self.step_number]))
                if self._is_time(self.options.log_every):
                    self.log.write(self.step_number, self._figures())
                if self._is_time(self.options.eval_every or self.batches.per_epoch):
                    self._evaluate()
                progress.update()
                progress.set_postfix_str(self._status(), refresh=False)
                asked = self.ranks.any(stop.requested)
                if self.step_number == self.total:
                    break
                if asked or self._is_time(self.options.checkpoint_every):
                    self.checkpoints.save(self.step_number, self.state())
                if asked:
                    raise KeyboardInterrupt(
                        f"stopped after step {self.step_number} of {self.total}; the same command goes on from there"
                    )
        # If writing the outputs fails, the same command writes them without training again.
        self.checkpoints.save(self.step_number, self.state())

    def _progress(self) -> Progress:
        """Return the progress bar, shown by the first process only."""
        hidden = not self.ranks.is_first
        return Progress(total=self.total, initial=self.step_number, desc="training", unit=" steps", disable=hidden)

    def _is_time(self, every: int) -> bool:
        """Return whether something is due that is done every `every` steps and after the last one."""
        return self.step_number % every == 0 or self.step_number == self.total

    def take_best(self) -> tuple[float, dict[float, float]]:
        """Load the best evaluated model, else keep the last, and average it with the one before training.

        All processes must call it together, as they measure together.

        Returns
        -------
        As `average`.
        """
        if self.best is not None:
            self.model.load_state_dict(self.best)
        if self.start is None:
            return 1.0, {}
        dev, model = self.dev, self.model
        measure = None if dev is None else lambda: dev.per_query(model)
        choose = preferred if dev is None or dev.held_out else best
        return average(model, self.start, self.options.trained_share, measure, choose)

    def state(self) -> dict[str, Any]:
        """Return the state of the training, for a checkpoint."""
        return {
            **{name: part.state_dict() for name, part in self._stateful().items()},
            "negatives": self.ranks.gathered(self.negatives.state()),
            "random": self.ranks.gathered(random_state(self.device)),
            "step": self.step_number,
            "losses": self.losses,
            "history": self.history,
            "best": self.best,
            "best_metric": self.best_metric,
        }

    def _stateful(self) -> dict[str, Any]:
        """Return the objects with a `state_dict`, by their names in a checkpoint."""
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}

    def resume(self) -> bool:
        """Load the newest checkpoint; return False if there is none.

        Raises
        ------
        TrainingError
            If there are checkpoints but none is readable.
        """
        state = self.checkpoints.newest()
        if state is None:
            return False
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        if len(state["random"]) != self.ranks.world:
            raise TrainingError(
                f"the checkpoint is of {len(state['random'])} processes, not {self.ranks.world}; start as many, or "
                "over with --no-resume"
            )
        self.negatives.load_state(state["negatives"][self.ranks.rank])
        set_random_state(state["random"][self.ranks.rank], self.device)
        self.step_number = state["step"]
        self.losses, self.history = state["losses"], state["history"]
        self.best, self.best_metric = state["best"], state["best_metric"]
        self.log.rewind(self.step_number)
        return True

    def _evaluate(self) -> None:
        """Evaluate on the dev queries, and keep a copy of the model if it is the best so far."""
        if self.dev is None or self.dev.held_out:
            return
        metric = self.ranks.from_first(float(self.dev.per_query(self.model).mean()))
        self.history.append({"step": self.step_number, "dev": metric})
        self.log.write(self.step_number, {"dev": metric})
        if metric > self.best_metric:
            self.best_metric = metric
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def _has_converged(self) -> bool:
        """Return whether the last `patience` evaluations brought no new best."""
        if self.options.patience is None or not self.history:
            return False
        values = [entry["dev"] for entry in self.history]
        return len(values) - 1 - values.index(max(values)) >= self.options.patience

    def _figures(self) -> dict[str, float]:
        names = ("lr", "centroid_lr", "bias_lr", "document_lr")  # the last only if documents are trained
        rates = {name: group["lr"] for name, group in zip(names, self.optimizer.param_groups, strict=False)}
        recent = self.losses[-self.options.log_every :]
        times = {f"{phase}_ms": round(time, 2) for phase, time in self.timer.read().items()}
        return {"loss": sum(recent) / len(recent), **rates, **times}

    def _status(self) -> str:
        recent = self.losses[-50:]
        dev = f", dev {self.history[-1]['dev']:.4f} (best {self.best_metric:.4f})" if self.history else ""
        return f"loss {sum(recent) / len(recent):.4f}{dev}"

    def _refuse_nonfinite(self, value: float, batch: Sequence[TrainingQuery]) -> None:
        if math.isfinite(value):
            return
        last = self.checkpoints.newest_path()
        raise TrainingError(
            f"the loss is {value} at step {self.step_number + 1} (queries {', '.join(q.qid for q in batch)}); "
            f"the last good checkpoint is {last or 'none'}; lower --lr, --centroid-lr or --score-scale"
        )

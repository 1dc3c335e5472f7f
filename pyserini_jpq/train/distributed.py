"""Data-parallel training, started by torchrun or accelerate: each process takes its share of every batch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pyserini_jpq.locks import exclusive, lock_file

T = TypeVar("T")


@contextmanager
def alone(*outputs: Path) -> Iterator[None]:
    """Lock the outputs against other writers, in the order of their paths; the first process of a run holds the locks.

    Raises
    ------
    BusyError
        If another process writes one of them.
    """
    with ExitStack() as locks:
        if os.environ.get("RANK", "0") == "0":
            for output in sorted(outputs, key=lock_file):  # so that one of two runs gets them all
                locks.enter_context(exclusive(output))
        yield


class Ranks:
    """The processes that train together, seen from one of them; without a launcher there is one."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """Join the processes that the launcher declares in the environment (RANK, WORLD_SIZE)."""
        if cls.launched() == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def launched() -> int:
        """Return the number of processes that the launcher declares."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def is_first(self) -> bool:
        """Whether this is the process that evaluates, prints and writes."""
        return self.rank == 0

    def share(self, batch: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a batch."""
        return batch[self.rank :: self.world]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over all processes, in place."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum of a scalar over all processes."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def exchange(self, parts: Sequence[torch.Tensor], lengths: Sequence[int] | None = None) -> list[torch.Tensor]:
        """Send a tensor to each process, and return what each sent to this one, by rank.

        Parameters
        ----------
        parts
            A tensor for each process; all of one type, and of one shape but for their lengths.
        lengths
            The lengths of those that come back; None where this process cannot know them.
        """
        if self.world == 1:
            return list(parts)
        own = [len(part) for part in parts]
        if lengths is None:
            told = torch.tensor(own, device=parts[0].device)
            dist.all_to_all_single(answer := torch.empty_like(told), told)
            lengths = answer.tolist()
        received = parts[0].new_empty(sum(lengths), *parts[0].shape[1:])
        dist.all_to_all_single(received, torch.cat(list(parts)), list(lengths), own)
        return list(received.split(list(lengths)))

    def from_first(self, value: Any) -> Any:
        """Return the value of the first process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return any(self.gathered(flag)) if self.world > 1 else flag

    def leave(self) -> None:
        """Leave the process group."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()

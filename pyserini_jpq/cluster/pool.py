"""A pool of Ray actors that do pieces of work; what a lost actor had begun is done again by another."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from pyserini_jpq.cluster.options import ClusterOptions, resources_of
from pyserini_jpq.errors import InstallationError, JPQError, first_line

T = TypeVar("T")

_LOST_IN_A_ROW = 8
"""Actors lost one after the other, with no piece done between, after which the work is given up."""


_UNTIL_READY = 60.0
"""Seconds that actors which stay have to become ready before they are given work."""


class Worker(Protocol):
    """Does pieces of work; its class and arguments are pickled, and made in the process of an actor."""

    def do(self, piece: Any) -> Any:
        """Do a piece of work; done twice, it must have the same effect as once."""
        ...


class Cluster:
    """A connection to a Ray cluster, which is made when it is first used.

    Machines must see the same files under the same paths, and have the package installed.

    Parameters
    ----------
    address
        Address of a running cluster, `auto`, or `local` to start one on this machine for this process.
    actors
        Number of actors; by default as many as the cluster has room for when the work begins.
    resources
        What each takes, by name: `num_cpus`, `num_gpus`, and resources of your own.

    Attributes
    ----------
    lost : int
        Number of actors that were lost so far.
    done, again : int
        Number of pieces done, and how many of those had been begun by an actor that was lost.

    Raises
    ------
    InstallationError
        When it is first used, if Ray is not installed.
    """

    def __init__(
        self, address: str = "local", actors: int | None = None, resources: dict[str, float] | None = None
    ) -> None:
        self._address, self._actors = address, actors
        self._resources = {"num_cpus": 1.0, **(resources or {})}
        self.lost = self.done = self.again = 0

    @classmethod
    def of(cls, options: ClusterOptions) -> "Cluster | None":
        """Return the cluster of the flags; None without `--ray`."""
        if options.ray is None:
            return None
        return cls(options.ray, options.ray_actors, resources_of(options.ray_resources))

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of a function that is called on the cluster."""
        ray = self.connected()
        task = ray.remote(function).options(max_retries=4, **self._needs())
        result: T = self._got(task.remote(*arguments))
        return result

    def map(self, worker: type[Worker], arguments: Sequence[Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """Yield the results of pieces of work as they are done, in any order.

        An actor has one piece at a time, and pieces are taken as actors are free, so that memory does not grow with
        their number.

        Parameters
        ----------
        worker
            The class of workers, one to an actor.
        arguments
            Arguments of its constructor.
        pieces
            The pieces.

        Raises
        ------
        JPQError
            What a worker raises; or if actors are lost again and again, or none can be placed.
        """
        actors: list[Any] = []
        try:
            yield from self._map(partial(self._start, worker, arguments, actors), iter(pieces))
        finally:
            for actor in actors:  # what comes next finds their room free
                self.connected().kill(actor)

    def _map(self, start: Callable[[], Any], pieces: Iterator[Any]) -> Iterator[Any]:
        """Yield the results of pieces, of actors that `start` makes."""
        ray = self.connected()
        waiting = deque[Any]()
        busy: dict[Any, tuple[Any, Any, bool]] = {}
        in_a_row = 0

        def begin() -> None:
            actor = start()
            busy[actor.ready.remote()] = actor, None, False  # free when it is ready

        for _ in range(self.size()):
            begin()
        while busy:
            (ready,), _ = ray.wait(list(busy), num_returns=1)
            actor, piece, was_lost = busy.pop(ready)
            try:
                result = self._got(ready)
            except ray.exceptions.RayActorError as problem:
                self.lost, in_a_row = self.lost + 1, in_a_row + 1
                if in_a_row > _LOST_IN_A_ROW:
                    raise JPQError(f"{in_a_row} actors were lost one after the other: {first_line(problem)}") from None
                if piece is not None:
                    waiting.append(piece)
                begin()
                continue
            if piece is not None:
                in_a_row, self.done, self.again = 0, self.done + 1, self.again + was_lost
                yield result
            was_lost = bool(waiting)
            if (following := waiting.popleft() if waiting else next(pieces, None)) is not None:
                busy[actor.do.remote(following)] = actor, following, was_lost
            elif not any(piece is not None for _, piece, _ in busy.values()):
                return  # actors that are not placed yet are not needed any more

    def start(self, worker: type[Worker], arguments: Iterable[Sequence[Any]]) -> list[Any]:
        """Start actors that stay, and return their handles; Ray makes one anew that is lost.

        Parameters
        ----------
        worker
            The class of workers.
        arguments
            Arguments of the constructor of each.

        Raises
        ------
        JPQError
            What a constructor raises.
        """
        how = self._remote(max_restarts=-1, max_task_retries=2)
        actors = [how.remote(worker, of_actor) for of_actor in arguments]
        ready = [actor.ready.remote() for actor in actors]
        # Those of an older version of an index may take the room of new ones, until they are let go.
        self.got(self.connected().wait(ready, num_returns=len(ready), timeout=_UNTIL_READY)[0])
        return actors

    def got(self, results: Sequence[Any]) -> list[Any]:
        """Return the results of calls of actors of `start`; raise JPQError if one is lost again and again."""
        try:
            return [self._got(result) for result in results]
        except self.connected().exceptions.RayActorError as problem:
            raise JPQError(f"an actor is lost: {first_line(problem)}") from None

    def size(self) -> int:
        """Return the number of actors."""
        if self._actors is not None:
            return self._actors
        there = self.connected().cluster_resources()
        names = {"num_cpus": "CPU", "num_gpus": "GPU"}
        fits = [
            int(there.get(names.get(name, name), 0) // number) for name, number in self._resources.items() if number
        ]
        return max(1, min(fits, default=1))

    def connected(self) -> Any:
        """Return the module `ray`, connected."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        try:
            import ray
        except ImportError:
            raise InstallationError(
                '--ray needs Ray, which the extra ray brings: `pip install "pyserini_jpq[ray]"`'
            ) from None
        if not ray.is_initialized():
            address = None if self._address == "local" else self._address
            how = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
            try:
                ray.init(**how, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as problem:
                raise JPQError(f"no Ray cluster at {self._address}: {first_line(problem)}") from None
        return ray

    def _needs(self) -> dict[str, Any]:
        """Return the resources as Ray takes them."""
        named = {name: value for name, value in self._resources.items() if name in ("num_cpus", "num_gpus")}
        return {**named, "resources": {n: value for n, value in self._resources.items() if n not in named}}

    def _remote(self, **more: Any) -> Any:
        return self.connected().remote(_Actor).options(**self._needs(), **more)

    def _start(self, worker: type[Worker], arguments: Sequence[Any], actors: list[Any]) -> Any:
        """Start an actor, note it and return it."""
        actors.append(self._remote().remote(worker, arguments))
        return actors[-1]

    def _got(self, result: Any) -> Any:
        """Return a result; raise what a worker raised itself."""
        ray = self.connected()
        try:
            return ray.get(result)
        except ray.exceptions.RayTaskError as problem:
            if isinstance(problem.cause, JPQError):
                raise problem.cause from None
            raise


class _Actor:
    """Makes a worker and gives it pieces; made by a method, as Ray takes an error of a constructor for a loss."""

    def __init__(self, worker: type[Worker], arguments: Sequence[Any]) -> None:
        self._how = worker, arguments
        self._worker: Worker | None = None

    def ready(self) -> None:
        """Make the worker."""
        worker, arguments = self._how
        self._worker = worker(*arguments)

    def do(self, piece: Any) -> Any:
        """Do a piece of work."""
        if self._worker is None:  # the actor was made anew
            self.ready()
        return cast(Worker, self._worker).do(piece)

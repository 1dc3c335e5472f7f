"""How pieces are handed to actors, by a double of Ray that loses actors as asked; test_pool.py has Ray itself."""

import itertools
import types

import pytest

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.errors import JPQError

pytestmark = pytest.mark.unit


class Lost(Exception):
    """What Ray raises of an actor that is gone."""


class Raised(Exception):
    """What Ray raises of an exception in an actor."""

    def __init__(self, cause):
        super().__init__("a traceback of many lines")
        self.cause = cause


class Ray:
    """Calls of actors are made when their result is asked for; those of the given numbers lose the actor."""

    exceptions = types.SimpleNamespace(RayActorError=Lost, RayTaskError=Raised)

    def __init__(self, lost=()):
        self.lost, self.calls, self.most = set(lost), itertools.count(), 0

    def remote(self, kind):

        class Handle:
            def options(self, **needs):
                return types.SimpleNamespace(remote=self.remote)  # once only

            def remote(self, *arguments):
                actor = kind(*arguments)

                class Method:
                    def __init__(self, name):
                        self.remote = lambda *args: lambda: getattr(actor, name)(*args)

                return types.SimpleNamespace(ready=Method("ready"), do=Method("do"))

        return Handle()

    def wait(self, calls, num_returns, timeout=None):
        if timeout:
            return calls, []
        self.most = max(self.most, len(calls))
        return [calls[-1]], calls[:-1]

    def kill(self, actor):
        self.killed = [*getattr(self, "killed", []), actor]

    def get(self, call):
        if next(self.calls) in self.lost:
            raise Lost("The actor died.\nMore of it.")
        try:
            return call()
        except JPQError as problem:
            raise Raised(problem) from None


class Squares:
    def __init__(self, wrong=None):
        if wrong == "made":
            raise JPQError("no such encoder")

    def do(self, piece):
        if piece == 13:
            raise JPQError("13 is unlucky")
        return piece**2


def cluster_of(monkeypatch, ray, actors=3):
    cluster = Cluster("auto", actors=actors)
    monkeypatch.setattr(cluster, "connected", lambda: ray)
    return cluster


@pytest.mark.parametrize("lost", [(), (0,), (3, 4, 5), range(20, 26), (0, 1, 2, 21, 22, 23, 24)])
def test_every_piece_is_done_though_actors_are_lost(monkeypatch, lost):
    ray = Ray(lost)
    cluster = cluster_of(monkeypatch, ray)
    assert sorted(cluster.map(Squares, (), range(20, 40))) == [n**2 for n in range(20, 40)]
    assert cluster.done == 20 and cluster.lost == len(lost) and cluster.again <= cluster.lost and ray.most <= 3
    assert len(ray.killed) == 3 + len(lost)  # none stays


def test_pieces_are_taken_as_they_are_needed(monkeypatch):
    taken = []
    pieces = (taken.append(n) or n for n in itertools.count(20))
    found = cluster_of(monkeypatch, Ray()).map(Squares, (), pieces)
    assert len(list(itertools.islice(found, 50))) == 50 and len(taken) <= 53


def test_there_may_be_fewer_pieces_than_actors_or_none(monkeypatch):
    assert list(cluster_of(monkeypatch, Ray(), 5).map(Squares, (), [2])) == [4]
    assert list(cluster_of(monkeypatch, Ray(), 5).map(Squares, (), [])) == []
    assert list(cluster_of(monkeypatch, Ray([1]), 1).map(Squares, (), [2])) == [4]


def test_errors_of_workers_and_endless_losses_are_one_line(monkeypatch):
    with pytest.raises(JPQError, match=r"^13 is unlucky$"):
        list(cluster_of(monkeypatch, Ray()).map(Squares, (), range(20)))
    with pytest.raises(JPQError, match=r"^no such encoder$"):
        list(cluster_of(monkeypatch, Ray()).map(Squares, ("made",), range(20)))
    with pytest.raises(JPQError, match=r"^9 actors were lost one after the other: The actor died\.$"):
        list(cluster_of(monkeypatch, Ray(range(99))).map(Squares, (), range(20, 40)))


def test_actors_that_stay_are_ready_when_they_are_there(monkeypatch):
    cluster = cluster_of(monkeypatch, Ray())
    one, other = cluster.start(Squares, [(), ()])
    assert cluster.got([one.do.remote(3), other.do.remote(4)]) == [9, 16]
    with pytest.raises(JPQError, match=r"^no such encoder$"):
        cluster.start(Squares, [("made",)])

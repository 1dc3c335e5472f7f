"""Metrics against their definitions, written out here, and against trec_eval itself; and the t-test."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.errors import JPQError, RunError
from pyserini_jpq.evaluate.metrics import Metrics, paired_t_test, parse_metrics

Judged = dict[str, int]
Hits = dict[str, float]

DOCIDS = ("a", "b", "B", "10", "9", "é", "日本", "a\u2028b", "z", "-")
qids = st.sampled_from([f"q{number}" for number in range(6)])
# Few scores, so that many are equal; and some that only a 64-bit float tells apart.
scores = st.one_of(st.integers(-2, 2).map(float), st.integers(0, 9).map(lambda step: 1 + step * 2e-8), st.floats(-9, 9))
all_qrels = st.dictionaries(qids, st.dictionaries(st.sampled_from(DOCIDS), st.integers(-2, 3), min_size=1), min_size=1)
all_runs = st.dictionaries(qids, st.dictionaries(st.sampled_from(DOCIDS), scores, min_size=1), min_size=1)


def ranked(judged: Judged, hits: Hits) -> list[int]:
    """Grades of the hits in the order of trec_eval; 0 where there is no judgement."""
    order = sorted(hits, key=lambda docid: (np.float32(hits[docid]), docid.encode()), reverse=True)
    return [max(judged.get(docid, 0), 0) for docid in order]


def dcg(grades: list[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def ndcg(judged: Judged, hits: Hits, cutoff: int) -> float:
    ideal = dcg(sorted((max(grade, 0) for grade in judged.values()), reverse=True)[:cutoff])
    return dcg(ranked(judged, hits)[:cutoff]) / ideal if ideal else 0.0


def found(judged: Judged, hits: Hits, level: int, cutoff: int) -> list[int]:
    """Ranks of the relevant documents among the first hits."""
    return [rank for rank, grade in enumerate(ranked(judged, hits)[:cutoff], 1) if grade >= level]


def relevant(judged: Judged, level: int) -> int:
    return sum(grade >= level for grade in judged.values())


def recall(judged: Judged, hits: Hits, level: int, cutoff: int) -> float:
    total = relevant(judged, level)
    return len(found(judged, hits, level, cutoff)) / total if total else 0.0


def reciprocal_rank(judged: Judged, hits: Hits, level: int, cutoff: int) -> float:
    return 1 / min(found(judged, hits, level, cutoff), default=math.inf)


def average_precision(judged: Judged, hits: Hits, level: int) -> float:
    total = relevant(judged, level)
    ranks = found(judged, hits, level, len(hits))
    return sum(number / rank for number, rank in enumerate(ranks, 1)) / total if total else 0.0


DEFINITIONS = {
    "nDCG@3": lambda judged, hits: ndcg(judged, hits, 3),
    "nDCG": lambda judged, hits: ndcg(judged, hits, 99),
    "R@4": lambda judged, hits: recall(judged, hits, 1, 4),
    "R(rel=2)@4": lambda judged, hits: recall(judged, hits, 2, 4),
    "RR": lambda judged, hits: reciprocal_rank(judged, hits, 1, 99),
    "RR@2": lambda judged, hits: reciprocal_rank(judged, hits, 1, 2),
    "RR(rel=2)@3": lambda judged, hits: reciprocal_rank(judged, hits, 2, 3),
    "AP": lambda judged, hits: average_precision(judged, hits, 1),
    "AP(rel=2)": lambda judged, hits: average_precision(judged, hits, 2),
    "P@3": lambda judged, hits: len(found(judged, hits, 1, 3)) / 3,
    "Success@2": lambda judged, hits: float(bool(found(judged, hits, 1, 2))),
}


@pytest.mark.unit
def test_hand_computed_example() -> None:
    qrels = {"q1": {"a": 1, "b": 2, "c": 0, "d": 1}, "lacking": {"a": 1}}
    # c and b have equal scores: c, the later docid, comes first. So: c (0), b (2), x (not judged), a (1).
    run = {"q1": {"b": 5.0, "c": 5.0, "x": 4.0, "a": 3.0}, "not judged": {"a": 1.0}}
    values = Metrics(["nDCG@4", "R@4", "R@3", "RR@10", "RR@1", "AP", "P@2"]).per_query(qrels, run)
    assert values["nDCG@4"][0] == pytest.approx((2 / math.log2(3) + 1 / math.log2(5)) / (2 + 1 / math.log2(3) + 1 / 2))
    assert values["R@4"][0] == pytest.approx(2 / 3)
    assert values["R@3"][0] == pytest.approx(1 / 3)
    assert values["RR@10"].tolist() == [1 / 2, 0]
    assert values["RR@1"].tolist() == [0, 0]
    assert values["AP"][0] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert values["P@2"].tolist() == [1 / 2, 0]
    assert all(array[1] == 0 for array in values.values())


@pytest.mark.property
@given(all_qrels, all_runs)
def test_equal_to_the_definitions(qrels: dict[str, Judged], run: dict[str, Hits]) -> None:
    metrics = Metrics(list(DEFINITIONS))
    if not qrels.keys() & run.keys():
        with pytest.raises(RunError, match="no query of the run is in the qrels"):
            metrics.per_query(qrels, run)
        return
    values = metrics.per_query(qrels, run)
    for name, definition in DEFINITIONS.items():
        expected = [definition(judged, run.get(qid, {})) for qid, judged in qrels.items()]
        np.testing.assert_allclose(values[name], expected, atol=1e-12, err_msg=name)


@pytest.mark.unit
@pytest.mark.parametrize("others", [{}, {"q1": {"a": 1, "b": -1}}], ids=["alone", "among others"])
def test_query_with_grades_below_0_only_scores_0(others: dict[str, Judged]) -> None:
    """Given such a query, pytrec_eval itself crashes, or never comes back."""
    names = [*DEFINITIONS, "Bpref", "infAP", "Rprec", "IPrec@0.1", "SetP", "SetF", "SetAP"]
    qrels = {"q0": {"a": -1, "b": -2, "10": -1}, **others}
    run = {"q0": {"a": 2.0, "z": 1.0}, "q1": {"a": 2.0, "b": 1.0}}
    values = Metrics(names).per_query(qrels, run)
    assert all(array[0] == 0 and len(array) == len(qrels) for array in values.values())
    assert all(array[1] == 1 for name, array in values.items() if others and name in ("nDCG@3", "RR", "AP", "Bpref"))


@pytest.mark.property
@given(all_qrels, all_runs.filter(bool), st.randoms(use_true_random=False))
def test_order_of_lines_does_not_matter(qrels: dict[str, Judged], run: dict[str, Hits], order: random.Random) -> None:
    run["q0"] = run.get("q0", {"a": 1.0})
    qrels["q0"] = qrels.get("q0", {"a": 1})
    metrics = Metrics(list(DEFINITIONS))
    before = metrics.per_query(qrels, run)
    shuffled = {qid: dict(order.sample(list(hits.items()), len(hits))) for qid, hits in reversed(run.items())}
    after = metrics.per_query(qrels, shuffled)
    for name in metrics.names:
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.unit
def test_metrics_together_are_as_each_alone() -> None:
    """One call of pytrec_eval serves several metrics; those with a level or gains of their own must not leak."""
    rng = random.Random(7)
    qrels = {f"q{i}": {docid: rng.randint(0, 3) for docid in DOCIDS[:7]} for i in range(9)}
    run = {f"q{i}": {docid: rng.random() for docid in rng.sample(DOCIDS, 6)} for i in range(8)}
    names = ["nDCG(gains={1:0,2:3})@3", "AP(rel=2)", "nDCG@3", "nDCG", "nDCG(judged_only=True)@3", "P@2", "P(rel=3)@2"]
    names += ["R@2", "RR(rel=2)", "RR@1", "Bpref", "infAP", "Rprec", "IPrec@0.1", "SetP", "SetR", "SetF", "SetAP"]
    together = Metrics(names).per_query(qrels, run)
    assert list(together) == names
    for name in names:
        np.testing.assert_array_equal(together[name], Metrics([name]).per_query(qrels, run)[name], err_msg=name)
    assert not np.array_equal(together["nDCG(gains={1:0,2:3})@3"], together["nDCG@3"])
    assert not np.array_equal(together["nDCG(judged_only=True)@3"], together["nDCG@3"])


@pytest.mark.unit
@pytest.mark.parametrize("cutoff", [1, 2, 3, 10, 100, 1000])
def test_reciprocal_rank_is_cut_after_its_cutoff(cutoff: int) -> None:
    run = {"q": {f"d{rank:04}": 2000.0 - rank for rank in range(1, 1003)}}
    for rank in {max(cutoff - 1, 1), cutoff, cutoff + 1}:
        value = Metrics([f"RR@{cutoff}"]).per_query({"q": {f"d{rank:04}": 1}}, run)[f"RR@{cutoff}"][0]
        assert value == (1 / rank if rank <= cutoff else 0)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nDCG@10", ["nDCG@10"]),
        ("NDCG@10", ["nDCG@10"]),
        ("ndcg_cut_10", ["nDCG@10"]),
        ("ndcg_cut.10", ["nDCG@10"]),
        ("ndcg", ["nDCG"]),
        ("recall.100", ["R@100"]),
        ("recall_100,1000", ["R@100", "R@1000"]),
        ("Recall@100", ["R@100"]),
        ("R(rel=2)@1000", ["R(rel=2)@1000"]),
        ("R(rel=1)@1000", ["R@1000"]),
        ("recip_rank", ["RR"]),
        ("MRR@10", ["RR@10"]),
        ("map", ["AP"]),
        ("MAP", ["AP"]),
        ("map_cut.5", ["AP@5"]),
        ("P_5", ["P@5"]),
        ("P.5", ["P@5"]),
        ("Rprec", ["Rprec"]),
        ("bpref", ["Bpref"]),
        ("success.1", ["Success@1"]),
        ("iprec_at_recall.0.1", ["IPrec@0.1"]),
        ("SetF(beta=2.0)", ["SetF(beta=2.0)"]),
        ("nDCG(gains={1:0,2:3})@10", ["nDCG(gains={1:0,2:3})@10"]),
    ],
)
def test_known_names(name: str, expected: list[str]) -> None:
    assert Metrics([name]).names == expected


@pytest.mark.unit
@pytest.mark.parametrize(
    "name",
    [
        *("", "nope", "nDCG@", "R", "nDCG@0", "recall.0", "P@-1", "nDCG@1.5", "nDCG@x", "nDCG@True", "P(5)", "a b"),
        *("nDCG(foo=1)", "AP(rel=0)", "AP(rel=-1)", 'nDCG(dcg="exp-log2")@10', "nDCG(gains={1:'a'})@10", "IPrec@1.5"),
        *("IPrec@0.123", "SetF(beta=0.0)", "ERR@10", "Judged@10", "NumRel", "num_q", "gm_map", "official", "all_trec"),
        *("P.5xyz", "recip_rank.3", "map_cut.1.5", "nDCG@99999999999", "recall.5\n", "nDCG(gains={-1:1})@3"),
    ],
)
def test_unknown_names(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert parse_metrics([name]) == ({}, [name])
    assert capfd.readouterr() == ("", "")


@pytest.mark.unit
def test_all_unknown_names_are_named() -> None:
    with pytest.raises(JPQError, match="unknown metrics: nope, nDCG@0 "):
        Metrics(["nope", "nDCG@10", "nDCG@0"])


@pytest.mark.unit
def test_repeated_metrics_count_once() -> None:
    assert Metrics(["nDCG@10", "ndcg_cut.10,5", "RR"]).names == ["nDCG@10", "nDCG@5", "RR"]


class TestPairedTTest:
    @pytest.mark.unit
    def test_hand_computed_example(self) -> None:
        # Differences 1, 2, 3: t = 2 / (1 / sqrt(3)), and with 2 degrees of freedom p = 1 - t / sqrt(t² + 2).
        t = 2 * math.sqrt(3)
        p = paired_t_test(np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.0, 2.0]))
        assert p == pytest.approx(1 - t / math.sqrt(t * t + 2))

    @pytest.mark.property
    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
    def test_from_0_to_1_and_symmetric(self, pairs: list[tuple[float, float]]) -> None:
        values, baseline = np.array(pairs).T
        p = paired_t_test(values, baseline)
        assert 0 <= p <= 1
        assert paired_t_test(baseline, values) == pytest.approx(p)

    @pytest.mark.unit
    def test_equal_runs(self) -> None:
        values = np.array([0.0, 0.5, 1.0])
        assert paired_t_test(values, values.copy()) == 1

    @pytest.mark.unit
    def test_one_query_leaves_nothing_to_test(self) -> None:
        assert paired_t_test(np.array([0.1]), np.array([0.9])) == 1

    @pytest.mark.unit
    @pytest.mark.filterwarnings("error")
    def test_the_same_difference_everywhere(self) -> None:
        assert paired_t_test(np.array([1.0, 1.5, 2.0]), np.array([0.5, 1.0, 1.5])) < 1e-12

    @pytest.mark.unit
    def test_differences_that_cancel(self) -> None:
        assert paired_t_test(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)


def random_files(seed: int, folder: Path) -> tuple[dict[str, Judged], dict[str, Hits], str, str]:
    """Qrels and a run with ties, near ties, unjudged documents, and queries that only one of the two has."""
    rng = random.Random(seed)
    docids = [f"{letter}{number}" for letter in ("d", "D", "é", "日") for number in range(15)]
    draw = {"ties": lambda: rng.randint(0, 3), "near": lambda: 1 + rng.randint(0, 9) * 2e-8, "floats": rng.random}
    qrels = {f"q{i}": {d: rng.choice([-2, -1, 0, 0, 1, 2, 3]) for d in rng.sample(docids, 20)} for i in range(20)}
    qrels["q5"] = {d: -1 for d in rng.sample(docids, 9)}
    run = {f"q{i}": {d: draw[rng.choice(list(draw))]() for d in rng.sample(docids, 40)} for i in range(3, 24)}
    qrels_file, run_file = folder / "qrels.txt", folder / "run.txt"
    qrels_file.write_text("".join(f"{q} 0 {d} {g}\n" for q, judged in qrels.items() for d, g in judged.items()))
    run_file.write_text("".join(f"{q} Q0 {d} 1 {s!r} t\n" for q, hits in run.items() for d, s in hits.items()))
    return qrels, run, str(qrels_file), str(run_file)


PLAIN = {
    "ndcg_cut.3": "nDCG@3",
    "ndcg_cut.10": "nDCG@10",
    "ndcg": "nDCG",
    "recall.5": "R@5",
    "recall.100": "R@100",
    "recip_rank": "RR",
    "map": "AP",
    "map_cut.5": "AP@5",
    "P.5": "P@5",
    "bpref": "Bpref",
    "Rprec": "Rprec",
    "success.5": "Success@5",
    "infAP": "infAP",
    "set_F": "SetF",
}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], PLAIN),
        (["-l", "2"], {"map": "AP(rel=2)", "recall.10": "R(rel=2)@10", "recip_rank": "RR(rel=2)"}),
        (["-M", "2"], {"recip_rank": "RR@2"}),
        (["-M", "3", "-l", "3"], {"recip_rank": "RR(rel=3)@3"}),
    ],
    ids=["plain", "level", "cutoff", "both"],
)
def test_equal_to_trec_eval(tmp_path: Path, options: list[str], names: dict[str, str]) -> None:
    from pyserini_jpq.compat import pyserini

    for seed in range(2):
        qrels, run, qrels_file, run_file = random_files(seed, tmp_path)
        theirs = {}
        for measure in names:  # of two cutoffs of one measure, asked for apart, trec_eval prints one only
            theirs |= pyserini.trec_eval(["-c", *options, "-m", measure, qrels_file, run_file])
        ours = Metrics(list(names.values())).per_query(qrels, run)
        rounded = {measure.replace(".", "_"): float(f"{ours[name].mean():.4f}") for measure, name in names.items()}
        assert rounded == theirs

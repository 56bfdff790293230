"""Trains either network on labelled patterns that are made for it, from nothing or from a network that there is.

One seed decides everything: which patterns, in which order and turned in which way, and the first weights. The judges
of the small network learn from patterns of other crystals than the convolutions; from those of yet others the
probabilities are calibrated and the figures of the card are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_S, RealClock
from engine.errors import Refused
from engine.executor import Executor
from protocols.learning.framework import repeatable
from protocols.learning.modelfile import Weights, halved
from protocols.screening import judge
from protocols.screening.calibration import fitted
from protocols.screening.examples import KINDS, Examples, Wanted, examples
from protocols.screening.figures import figures
from protocols.screening.geometric import SpotJudge
from protocols.screening.labels import Kind
from protocols.screening.model import Answers, Model
from protocols.screening.networks import D_MIN, GOOD, INSTEAD, NETWORKS, SEVERAL, Network, Which, give, weights_of
from protocols.screening.views import turned

VALIDATION = 1 << 20
"""Patterns from this number on are of crystals that no convolution is trained on: those of the judge, then those that
nothing is trained on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. patterns, validation: how many; judge: those from which the judges learn (the paper's
    network has none). rate: the highest learning rate.
    """

    patterns: int
    judge: int
    validation: int
    epochs: int
    batch: int
    rate: float


RECIPES = {
    Which.SMALL: Recipe(patterns=3200, judge=8000, validation=1280, epochs=6, batch=48, rate=2e-3),
    Which.PAPER: Recipe(patterns=8000, judge=0, validation=1000, epochs=12, batch=75, rate=1e-3),
}
QUICK = {
    Which.SMALL: Recipe(patterns=96, judge=96, validation=64, epochs=2, batch=24, rate=2e-3),
    Which.PAPER: Recipe(patterns=75, judge=0, validation=64, epochs=1, batch=75, rate=1e-3),
}
"""To see whether all works, in seconds; what comes out judges nothing."""
WARM_UP = 60
"""Steps in which the learning rate rises from 0, before it falls along a cosine."""
HARD = {Kind.SEVERAL_CRYSTALS: 2.0, Kind.STREAKS: 2.0, Kind.BENT: 2.0}
"""Kinds that are learned last count so much in the loss; what that does to probabilities the calibration takes off."""
MAPS_AT_ONCE = 64
STREAM = 18
"""Beside the seed, of the order and the ways in which patterns are turned."""
D_MIN_WEIGHT, SEVERAL_WEIGHT = 0.5, 0.3

Progress = Callable[[str, int, int, str], None]
"""Called with what is being done, done, total and a note."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """(n, 3) what each output should be, and (n, 3) how much that counts: 0 where nobody knows."""

    value: NDArray[np.float32]
    known: NDArray[np.float32]


def targets(of: Examples) -> Targets:
    """Of the three outputs of the small network; the first is that of the paper's.

    Borderline patterns teach d_min and nothing else. Several: more than one lattice; where there is none, nobody knows.
    """
    value, known = np.zeros((len(of), 3), np.float32), np.zeros((len(of), 3), np.float32)
    value[:, GOOD], known[:, GOOD] = of.good, of.judged * np.array([HARD.get(kind, 1.0) for kind in KINDS])[of.kind]
    known[:, D_MIN] = np.isfinite(of.d_min_A)
    value[:, D_MIN] = np.log(np.where(known[:, D_MIN] > 0, of.d_min_A, 1.0))
    value[:, SEVERAL], known[:, SEVERAL] = of.lattices > 1, of.judged & (of.lattices > 0)
    return Targets(value, known)


def train(
    seed: int,
    which: Which = Which.SMALL,
    *,
    executor: Executor,
    recipe: Recipe | None = None,
    begin: Model | None = None,
    own: Examples | None = None,
    progress: Progress = lambda *_: None,
) -> Model:
    """A network trained from this seed, on patterns that are made for it; its record is its card.

    begin, own: see `learned`. On one machine the same seed gives the same weights; for this, TensorFlow's deterministic
    operations are switched on for the whole process. Refused without TensorFlow.
    """
    recipe = recipe or RECIPES[which]
    nothing = recipe.epochs < 1 and begin is None
    if recipe.patterns < recipe.batch or recipe.validation < 1 or nothing:
        raise Refused(f"{recipe.patterns} patterns in batches of {recipe.batch} train nothing. Nothing was trained.")
    repeatable(seed, INSTEAD)
    counts = (recipe.patterns if recipe.epochs else 0, recipe.judge, recipe.validation)
    clock = RealClock()
    begun_ns = clock.now_ns()
    paper = which is Which.PAPER
    wanted = (
        Wanted(seed, 0, counts[0], evidence=False, paper=paper),
        Wanted(seed, VALIDATION, recipe.judge + recipe.validation, evidence=not paper, paper=paper),
    )
    everything = examples(executor, wanted, lambda done: progress("making patterns", done, sum(counts), ""))
    parts = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    to_learn, to_judge, kept_back = (everything.take(part) for part in parts)
    model = learned(seed, which, to_learn, to_judge, kept_back, recipe, begin=begin, own=own, progress=progress)
    wall_s = round((clock.now_ns() - begun_ns) / NS_PER_S, 1)
    return Model(which, model.weights, model.record | {"wall_s": wall_s}, model.spots)


def learned(
    seed: int,
    which: Which,
    to_learn: Examples,
    to_judge: Examples,
    kept_back: Examples,
    recipe: Recipe,
    *,
    begin: Model | None = None,
    own: Examples | None = None,
    progress: Progress = lambda *_: None,
) -> Model:
    """A network trained on examples that there are. to_judge: those of its judge. kept_back: those for its calibration
    and the figures of its card.

    begin: the network that it begins with, instead of none. own: labelled patterns of a person, half of each batch, and
    half of what the judge learns from.
    """
    tf = repeatable(seed, INSTEAD)
    if recipe.epochs or begin is None:
        weights = halved(_fit(tf, NETWORKS[which], to_learn, recipe, seed, begin, own, progress))
    else:
        weights = {name: array for name, array in begin.weights.items() if not name.startswith(judge.PREFIX)}
    progress("weighing the spots", 0, 1, "")
    model = with_judges(Model(which, weights), to_judge, kept_back, own, seed)
    record: dict[str, Any] = {
        "network": which.value,
        "seed": seed,
        "patterns": len(to_learn),
        "judge": len(to_judge),
        "validation": len(kept_back),
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "data": "protocols.screening.generation, two thirds of a counting camera and a third of an integrating one",
        "own_patterns": 0 if own is None else len(own),
        **model.record,
        "validation_figures": figures(kept_back, model.answers(kept_back)).record(),
        "tensorflow": tf.__version__,
    }
    if begin is not None:
        record["begin"] = {name: begin.record.get(name) for name in ("seed", "patterns", "epochs", "begin")}
    return Model(which, model.weights, record, model.spots)


def with_judges(
    model: Model, to_judge: Examples, kept_back: Examples, own: Examples | None = None, seed: int = 1
) -> Model:
    """The same network with two judges that learn from these (the paper's has none), calibrated on those kept back."""
    of, good = kept_back.judged, kept_back.good
    out = model.outputs(kept_back.pictures if model.which is Which.SMALL else kept_back.paper)
    if model.which is Which.PAPER:
        return Model(model.which, model.weights, {"calibration": fitted(out[of, GOOD], good[of]).record()})
    sources = [to_judge] if own is None else [to_judge, own]
    heard = np.concatenate([model.outputs(each.pictures) for each in sources])
    model = Model(model.which, model.weights | judge_of(heard, sources, seed))
    calibration = fitted(model.judged(out, kept_back.evidence)[of, GOOD], good[of])
    spots = spots_alone(sources, kept_back, seed)
    return Model(model.which, model.weights, {"calibration": calibration.record()}, spots)


def judge_of(heard: NDArray[np.float64] | None, sources: Sequence[Examples], seed: int) -> Weights:
    """A judge that learns from these; the second source, where there is one, counts as much as the first. heard: (n, 3)
    what the network says of all of them; None: it decides by the spots alone.
    """
    parts = [targets(each) for each in sources]
    known = [(part.known > 0).astype(np.float64) for part in parts]
    for other in known[1:]:
        other *= known[0].sum() / max(1.0, other.sum())
    evidence = np.concatenate([each.evidence for each in sources])
    value = np.concatenate([part.value for part in parts]).astype(np.float64)
    return halved(judge.learned(heard, evidence, value, np.concatenate(known), seed))


def spots_alone(sources: Sequence[Examples], kept_back: Examples, seed: int) -> SpotJudge:
    """The judge that is asked first, and is the score without a network (`geometric`); with its card."""
    weights = judge_of(None, sources, seed)
    of = kept_back.judged
    logits = judge.judged(weights, None, kept_back.evidence)[of, GOOD]
    card = {
        "seed": seed,
        "judge": len(sources[0]),
        "validation": len(kept_back),
        "own_patterns": sum(len(each) for each in sources[1:]),
        "calibration": fitted(logits, kept_back.good[of]).record(),
    }
    answers = Answers(*SpotJudge(weights, card).says(kept_back.evidence))
    return SpotJudge(weights, card | {"validation_figures": figures(kept_back, answers).record()})


def _fit(
    tf: Any,
    network: Network,
    learned: Examples,
    recipe: Recipe,
    seed: int,
    begin: Model | None,
    own: Examples | None,
    progress: Progress,
) -> Weights:
    """Weights after so many epochs."""
    net = network.build()
    if begin is not None:
        give(begin.weights, net)
    step = _step(tf, network, net, recipe, recipe.epochs * (len(learned) // recipe.batch))
    sources = [_source(tf, network, each) for each in (learned, own) if each is not None]
    rng = np.random.default_rng([seed, STREAM])
    number, steps_each = 0, len(learned) // recipe.batch
    for _ in range(recipe.epochs):
        order = rng.permutation(len(learned))
        for first in range(0, steps_each * recipe.batch, recipe.batch):
            which = [order[first : first + recipe.batch]]
            if own is not None:
                which = [which[0][: recipe.batch // 2], rng.integers(len(own), size=recipe.batch // 2)]
            number += 1
            maps, value, known = _batch(sources, which, rng)
            loss = step(maps.astype(np.float32), value, known)
            progress("training", number, recipe.epochs * steps_each, f"loss {float(loss):.3f}")
    return weights_of(net)


def _step(tf: Any, network: Network, net: Any, recipe: Recipe, steps: int) -> Callable[..., Any]:
    """One step of training as a compiled function of maps, targets and what of these is known; it gives the loss."""
    small = network.which is Which.SMALL
    if small:
        warm = min(WARM_UP, steps // 4)
        rate = tf.keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warm), alpha=0.01, warmup_target=recipe.rate, warmup_steps=warm
        )
        optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=1e-2)
    else:
        optimizer = tf.keras.optimizers.RMSprop(recipe.rate)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits

    @tf.function  # type: ignore[untyped-decorator]
    def step(maps: Any, value: Any, known: Any) -> Any:
        seen = network.takes(maps)
        with tf.GradientTape() as tape:
            out = net(seen, training=True)
            loss = tf.reduce_mean(entropy(value[:, GOOD], out[:, GOOD]) * known[:, GOOD])
            if small:
                off = tf.abs(value[:, D_MIN] - out[:, D_MIN]) * known[:, D_MIN]
                several = entropy(value[:, SEVERAL], out[:, SEVERAL]) * known[:, SEVERAL]
                loss += D_MIN_WEIGHT * tf.reduce_mean(off) + SEVERAL_WEIGHT * tf.reduce_mean(several)
        variables = net.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    compiled: Callable[..., Any] = step
    return compiled


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Patterns to learn from: their maps, in half precision, and their targets."""

    maps: NDArray[np.float16]
    targets: Targets


def _source(tf: Any, network: Network, of: Examples) -> _Source:
    pictures = of.pictures if network.which is Which.SMALL else of.paper
    parts = []
    for i in range(0, len(of), MAPS_AT_ONCE):
        some = tf.constant(pictures[i : i + MAPS_AT_ONCE].astype(np.float32))
        parts.append(np.asarray(network.maps(some)).astype(np.float16))
    return _Source(np.concatenate(parts), targets(of))


def _batch(
    sources: Sequence[_Source], which: Sequence[NDArray[Any]], rng: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]:
    """Some of each source, every one mirrored and turned in its own way."""
    pairs = list(zip(sources, which, strict=True))
    maps = np.concatenate([source.maps[some] for source, some in pairs])
    ways = rng.integers(8, size=len(maps))
    for way in range(1, 8):
        own = ways == way
        maps[own] = turned(maps[own], way)
    value = np.concatenate([source.targets.value[some] for source, some in pairs])
    known = np.concatenate([source.targets.known[some] for source, some in pairs])
    return maps, value, known

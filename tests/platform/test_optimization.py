"""What follows a gradient: optimizers, the learning rate, averages of weights, and updates that went wrong."""

import json
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurray.jobs.train import STOPPED, train
from recurray.models import Padded, Seq2Seq
from recurray.platform.config.loading import load_config
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.training import TrainingConfig
from recurray.platform.data.batches import Batch
from recurray.platform.data.plan import BatchPlan
from recurray.platform.data.preparing import prepare
from recurray.platform.errors import UserError
from recurray.platform.network import build_seq2seq
from recurray.platform.training.average import MovingAverage, mean_of
from recurray.platform.training.learner import Learned, Learner, Progress
from recurray.platform.training.optimization import build_optimizer, set_learning_rate
from recurray.platform.training.schedule import after_validation, learning_rate
from recurray.platform.training.spikes import FEWEST, RECENT, is_spike, with_loss
from recurray.platform.training.step import TrainStep, Update

OPTIMIZERS = [
    {"kind": "adam", "betas": [0.9, 0.98]},
    {"kind": "adamw", "weight_decay": 0.1},
    {"kind": "adafactor", "weight_decay": 0.01},
]
by_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda section: section["kind"])


def section(**keys: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"steps": 100, "batch_tokens": 512} | keys)


def network(seed: int = 1) -> Seq2Seq:
    torch.manual_seed(seed)
    shape = {
        "embedding_dim": 16,
        "encoder": [{"kind": "lstm", "hidden_dim": 8}],
        "attention": {"heads": 2},
        "decoder": {"kind": "recurrent", "hidden_dim": 16, "layers": 1},
    }
    return build_seq2seq(ModelConfig.model_validate(shape), vocab_size=30)


class Training:
    """A network with an optimizer that takes updates on ever the same examples."""

    def __init__(self, optimizer: dict[str, Any], seed: int = 1) -> None:
        self.network = network(seed)
        self.optimizer = build_optimizer(self.network.parameters(), section(optimizer=optimizer).optimizer)
        self._step = TrainStep(self.network, self.optimizer, seed=1, label_smoothing=0.0, clip_norm=1.0)

    def step(self, number: int) -> float:
        generator = torch.Generator().manual_seed(3)
        side = Padded(torch.randint(4, 30, (6, 5), generator=generator), torch.full((6,), 5))
        set_learning_rate(self.optimizer, 0.02)
        result = self._step(Update(number, 30, [Batch(side, side, torch.arange(6))], padding_share=0.0))
        assert not result.skipped
        return result.loss


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@by_optimizer
def test_an_optimizer_lowers_the_loss_and_leaves_gradients_where_they_are_added_up(
    process_group: None, optimizer: dict[str, Any]
) -> None:
    training = Training(optimizer)
    places = [parameter.grad.data_ptr() for parameter in training.network.parameters() if parameter.grad is not None]
    losses = [training.step(number) for number in range(1, 31)]
    assert losses[-1] < 0.8 * losses[0]
    assert places == [
        parameter.grad.data_ptr() for parameter in training.network.parameters() if parameter.grad is not None
    ]


@by_optimizer
def test_an_optimizer_that_is_saved_and_loaded_goes_on_bit_for_bit(
    process_group: None, tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    unbroken, broken = Training(optimizer), Training(optimizer, seed=2)
    for number in range(1, 4):
        unbroken.step(number)
    state = {"network": unbroken.network.state_dict(), "optimizer": unbroken.optimizer.state_dict()}
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    broken.network.load_state_dict(loaded["network"])
    broken.optimizer.load_state_dict(loaded["optimizer"])
    for number in range(4, 7):
        assert broken.step(number) == unbroken.step(number)
    assert torch.equal(weights(broken.network), weights(unbroken.network))


def test_weight_decay_takes_its_share_off_every_weight_biases_too(process_group: None) -> None:
    plain, decayed = Training({"kind": "adamw", "weight_decay": 0.0}), Training({"kind": "adamw", "weight_decay": 0.1})
    before = weights(plain.network)
    plain.step(1)
    decayed.step(1)
    torch.testing.assert_close(
        weights(plain.network) - weights(decayed.network), 0.02 * 0.1 * before, atol=1e-7, rtol=0
    )


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        (
            ["training.optimizer.kind=adafactor", "training.optimizer.betas=[0.9, 0.98]"],
            "`training.optimizer`: there is no key `betas` in the optimizer adafactor; there are kind, weight_decay.",
        ),
        (
            ["training.optimizer.weight_decay=0.1"],
            "`training.optimizer`: there is no key `weight_decay` in the optimizer adam; there are kind, betas.",
        ),
        (["training.optimizer.kind=adamm"], "there is no optimizer `adamm`; did you mean `adam`?"),
        (
            ["training.learning_rate.patience=2"],
            "there is no key `patience` in the decay inverse_sqrt; there are peak, warmup_steps, decay.",
        ),
        (["training.learning_rate.decay=plato"], "there is no decay `plato`; did you mean `plateau`?"),
        (
            ["training.learning_rate={decay: plateau, factor: 1.5}"],
            "`training.learning_rate.factor`: input should be less than 1, found 1.5.",
        ),
    ],
)
def test_a_key_of_another_kind_is_refused_with_those_of_this_kind(
    tiny_recipe: Path, assignments: list[str], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(tiny_recipe, assignments)
    assert str(caught.value).endswith(sentence)


def rates(schedule: dict[str, Any], steps: int = 100) -> list[float]:
    config = section(learning_rate={"peak": 0.1, "warmup_steps": 10} | schedule).learning_rate
    return [learning_rate(number, steps, config) for number in range(1, steps + 1)]


@pytest.mark.parametrize("decay", ["inverse_sqrt", "cosine", "constant", "plateau"])
def test_every_schedule_rises_in_a_line_to_its_peak(decay: str) -> None:
    assert rates({"decay": decay})[:10] == pytest.approx([0.01 * number for number in range(1, 11)])
    assert max(rates({"decay": decay})) == pytest.approx(0.1)


def test_a_schedule_falls_as_its_decay_says() -> None:
    assert rates({"decay": "inverse_sqrt"})[39] == pytest.approx(0.05)
    assert rates({"decay": "cosine"})[54] == pytest.approx(0.05)
    assert rates({"decay": "cosine"})[-1] == pytest.approx(0.0, abs=1e-12)
    assert set(rates({"decay": "constant"})[10:]) == set(rates({"decay": "plateau"})[10:]) == {0.1}


def plateau_rates(figures: list[float], progress: Progress, done: int = 0, warmup_steps: int = 0) -> list[float]:
    """The rate after each of the figures of validations that are 10 steps apart, `done` of them done before."""
    schedule = {"peak": 1.0, "warmup_steps": warmup_steps, "decay": "plateau", "factor": 0.5, "patience": 2}
    config = section(learning_rate=schedule).learning_rate
    found = []
    for number, figure in enumerate(figures, done + 1):
        best = progress.best is None or figure > progress.best
        progress.best = figure if best else progress.best
        progress.stalled, progress.rate_falls = after_validation(
            10 * number, config, progress.stalled, progress.rate_falls, best=best
        )
        found.append(learning_rate(10 * number + 1, 1000, config, progress.rate_falls))
    return found


def test_a_plateau_lowers_the_rate_after_so_many_validations_without_a_new_best() -> None:
    figures = [5.0, 4.0, 4.0, 4.0, 4.0, 6.0, 5.0, 7.0, 5.0, 7.0, 6.0, 6.0]
    # An equal figure is no better, and a best one starts the count again.
    expected = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.0625]
    assert plateau_rates(figures, Progress()) == expected


def test_a_validation_within_the_warm_up_does_not_count_as_stalled() -> None:
    assert plateau_rates([5.0, 4.0, 4.0, 4.0, 4.0], Progress(), warmup_steps=30)[2:] == [1.0, 1.0, 0.5]


def test_a_plateau_broken_after_any_validation_goes_on_as_if_it_had_not_been() -> None:
    draw = random.Random(4)
    figures = [draw.choice([1.0, 2.0, 3.0, 4.0]) for _ in range(30)]
    whole = plateau_rates(figures, Progress())
    assert len(set(whole)) > 5
    for cut in range(31):
        progress = Progress()
        first = plateau_rates(figures[:cut], progress)
        kept = Progress(**json.loads(json.dumps(asdict(progress))))
        assert first + plateau_rates(figures[cut:], kept, cut) == whole


def test_the_moving_average_is_what_its_equation_says_from_the_first_update_on(process_group: None) -> None:
    training = Training({"kind": "adam"})
    average = MovingAverage(training.network, decay=0.7)
    expected = weights(training.network).double()
    for number in range(1, 31):
        training.step(number)
        average.update(training.network, number)
        decay = min(0.7, (1 + number) / (10 + number))  # 0.18, 0.25, … until 0.7 from n = 20 on
        expected = decay * expected + (1 - decay) * weights(training.network).double()
        torch.testing.assert_close(weights(average.network).double(), expected, atol=1e-6, rtol=0)
    assert not torch.allclose(weights(average.network), weights(training.network), atol=1e-4)


def test_a_moving_average_keeps_one_matrix_for_embeddings_that_are_tied(process_group: None) -> None:
    training = Training({"kind": "adam"})
    average = MovingAverage(training.network, decay=0.9)
    assert isinstance(average.network, Seq2Seq)
    assert average.network.src_embedding.weight is average.network.output.weight
    training.step(1)
    assert average.network.src_embedding.weight is not training.network.src_embedding.weight


def test_the_mean_of_checkpoints_is_of_each_tensor_and_keeps_its_type() -> None:
    states = [
        {"w": torch.tensor([1.0, 2.0]), "half": torch.tensor([1.0], dtype=torch.bfloat16), "n": torch.tensor(3)},
        {"w": torch.tensor([3.0, 2.0]), "half": torch.tensor([2.0], dtype=torch.bfloat16), "n": torch.tensor(4)},
        {"w": torch.tensor([5.0, 8.0]), "half": torch.tensor([6.0], dtype=torch.bfloat16), "n": torch.tensor(5)},
    ]
    mean = mean_of(iter(states))
    assert mean["w"].tolist() == [3.0, 4.0]
    assert (mean["w"].dtype, mean["half"].dtype) == (torch.float32, torch.bfloat16)
    assert mean["half"].item() == 3.0
    assert mean["n"].item() == 5


def test_the_mean_of_one_state_is_that_state_bit_for_bit() -> None:
    state = network().state_dict()
    mean = mean_of([state])
    assert all(torch.equal(mean[name], tensor) for name, tensor in state.items())


def test_states_of_two_networks_have_no_mean() -> None:
    with pytest.raises(ValueError, match="'other'"):
        mean_of([{"w": torch.zeros(1)}, {"other": torch.zeros(1)}])


def spikes(losses: list[float]) -> list[int]:
    recent: list[float] = []
    found = []
    for place, loss in enumerate(losses):
        if is_spike(loss, recent):
            found.append(place)
        recent = with_loss(loss, recent)
        assert len(recent) <= RECENT
    return found


def test_a_loss_far_above_the_recent_ones_is_a_spike_and_noise_is_none() -> None:
    draw = random.Random(1)
    losses = [5.0 * 0.998**number + draw.gauss(0, 0.1) for number in range(500)]
    assert spikes(losses) == []
    losses[200] += 1.5
    losses[203] += 3.0  # a spike does not hide the next
    losses[300] -= 3.0
    losses[400] = math.nan
    assert spikes(losses) == [200, 203]


def test_a_loss_that_is_not_finite_is_not_what_others_are_compared_with() -> None:
    assert with_loss(math.nan, [1.0]) == with_loss(math.inf, [1.0]) == [1.0]


def test_the_first_losses_are_compared_with_nothing() -> None:
    assert spikes([1.0] * (FEWEST - 1) + [100.0]) == []
    assert spikes([1.0] * FEWEST + [100.0]) == [FEWEST]


def rows(run: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    path = run / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_skipped_update_is_written_down_once_with_the_examples_of_all_workers(
    tiny_recipe: Path, workplace: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    settings = ["name=skips", "training.learning_rate.peak=1e30", "training.max_skipped=3", "resources.workers=2"]
    config = load_config(tiny_recipe, settings)
    assert train(config) == 1
    store = prepare(config).train
    plan = BatchPlan(
        store.src.lengths,
        store.tgt.lengths,
        seed=config.seed,
        batch_tokens=config.training.batch_tokens,
        sort_window=config.training.sort_window,
    )
    skipped = rows(workplace / config.folder, "skipped.jsonl")
    assert len(skipped) == 3
    for update, row in zip(skipped, rows(workplace / config.folder)[-3:], strict=True):
        assert update["step"] == row["step"]
        assert None in (update["loss"], update["grad_norm"])
        assert sorted(update["examples"]) == sorted(plan.epoch(0).step(update["step"] - 1).tolist())
        assert store.tgt.lengths[np.array(update["examples"])].sum() == row["tokens"]


HARD_TO_RESUME = [
    "resources.workers=1",
    "checkpoints.every=10",
    "training.steps=60",
    "training.validate_every=4",
    "training.optimizer.kind=adafactor",
    "training.ema_decay=0.9",
    "training.learning_rate={peak: 0.05, warmup_steps: 10, decay: plateau, patience: 2}",
]


@pytest.fixture
def learner(
    tiny_recipe: Path, workplace: Path, process_group: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any] | None], Learner]:
    """Makes a learner of HARD_TO_RESUME from its start, or from a state."""
    monkeypatch.chdir(workplace)
    config = load_config(tiny_recipe, HARD_TO_RESUME)

    def make(state: dict[str, Any] | None) -> Learner:
        learner = Learner(config, prepare(config), torch.device("cpu"))
        learner.begin(state)
        return learner

    return make


def learn(learner: Learner, last: int) -> list[Learned]:
    """Takes updates up to `last`, each third of them validated, with nothing better found than at the first."""
    found = []
    for update, _ in learner.updates(last):
        found.append(learner.learn(update))
        if update.number % 3 == 0:
            learner.judge(1.0)
    return found


def test_a_learner_made_anew_from_its_state_at_any_step_goes_on_bit_for_bit(
    learner: Callable[[dict[str, Any] | None], Learner], tmp_path: Path
) -> None:
    unbroken = learner(None)
    whole = []
    for step in range(1, 25):
        whole += learn(unbroken, step)
        torch.save(unbroken.state(), tmp_path / f"{step}.pt")
    assert len({learned.learning_rate for learned in whole[10:]}) > 2, "the plateau never lowered the rate"
    for cut in (1, 9, 13, 17, 23):
        broken = learner(torch.load(tmp_path / f"{cut}.pt", weights_only=True))
        assert learn(broken, 24) == whole[cut:]
        assert broken.progress == unbroken.progress
        assert torch.equal(weights(broken.network), weights(unbroken.network))
        assert torch.equal(weights(broken.judged), weights(unbroken.judged))


def test_a_skipped_update_is_not_averaged_and_does_not_count_as_one(
    learner: Callable[[dict[str, Any] | None], Learner],
) -> None:
    skipping = learner(None)
    learn(skipping, 4)
    average, embedding = weights(skipping.judged), next(skipping.network.parameters())
    sound = embedding.detach().clone()
    with torch.no_grad():
        embedding.fill_(math.nan)
    assert [learned.result.skipped for learned in learn(skipping, 5)] == [True]
    assert torch.equal(weights(skipping.judged), average)
    with torch.no_grad():
        embedding.copy_(sound)
    learn(skipping, 6)
    decay = (1 + 5) / (10 + 5)  # of the fifth update that was not skipped
    expected = decay * average + (1 - decay) * weights(skipping.network)
    torch.testing.assert_close(weights(skipping.judged), expected, atol=1e-6, rtol=0)


def stop_at(run: Path, step: int) -> None:
    """Sends this process SIGTERM once the run has logged so many steps."""
    deadline = time.monotonic() + 120
    while len(rows(run)) < step and time.monotonic() < deadline:
        time.sleep(0.02)
    if len(rows(run)) >= step:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_adafactor_with_a_moving_average_on_a_plateau_stopped_and_gone_on_with_gives_the_unbroken_curve(
    tiny_recipe: Path, workplace: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    unbroken, broken = (load_config(tiny_recipe, [*HARD_TO_RESUME, f"name={name}"]) for name in ("unbroken", "broken"))
    assert train(unbroken) == 0
    stopper = threading.Thread(target=stop_at, args=(workplace / broken.folder, 15), daemon=True)
    stopper.start()
    assert train(broken) == STOPPED
    stopper.join()
    stopped_at = rows(workplace / broken.folder)[-1]["step"]
    print(f"stopped at step {stopped_at}")
    assert 15 <= stopped_at < 60
    assert train(broken) == 0
    decided = ("step", "loss", "learning_rate", "grad_norm", "loss_spike", "dev/loss", "dev/bleu")
    one, other = (
        [{key: row[key] for key in decided if key in row} for row in rows(workplace / config.folder)]
        for config in (broken, unbroken)
    )
    assert one == other
    assert len({row["learning_rate"] for row in one[10:]}) > 2, "the plateau never lowered the rate"
    last, expected = (
        torch.load(workplace / config.folder / "checkpoints/step-00000060/state.pt", weights_only=True)
        for config in (broken, unbroken)
    )
    assert last["progress"] == expected["progress"]
    for part in ("network", "average"):
        assert all(torch.equal(last[part][name], weight) for name, weight in expected[part].items())

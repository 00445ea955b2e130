"""What the tests share: one Ray session, one small real corpus, one tiny trained model."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig

DATA = Path(__file__).parent / "data"

TINY_RECIPE = f"""
name: tiny
data:
  src_lang: en
  tgt_lang: de
  train: [{{kind: text, src: {DATA}/train.en, tgt: {DATA}/train.de}}]
  dev: {{kind: text, src: {DATA}/dev.en, tgt: {DATA}/dev.de}}
  test: {{kind: text, src: {DATA}/test.en, tgt: {DATA}/test.de}}
tokenizer: {{vocab_size: 600}}
model:
  embedding_dim: 32
  encoder: [{{kind: lstm, hidden_dim: 32, layers: 2}}]
  attention: {{heads: 2}}
  decoder: {{kind: recurrent, hidden_dim: 32}}
  dropout: 0.2
training:
  steps: 100
  batch_tokens: 512
  learning_rate: {{peak: 0.01, warmup_steps: 10}}
  validate_every: 50
checkpoints: {{every: 20}}
resources: {{workers: 2}}
wandb: {{mode: offline}}
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture(scope="session")
def tiny_config(tiny_recipe: Path) -> RunConfig:
    return load_config(tiny_recipe)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that trainings run in: their `runs/` and `data/` lie there."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    from recurray.platform.ray_session import ray_session

    os.environ.pop("RAY_ADDRESS", None)
    with ray_session(cpus=4):
        yield


@pytest.fixture(scope="session")
def tiny_run(tiny_config: RunConfig, workplace: Path, ray_cluster: None) -> Path:
    """The folder of a finished tiny run, trained by two workers."""
    from recurray.jobs.train import train

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        assert train(tiny_config) == 0
    return workplace / tiny_config.folder


@pytest.fixture(scope="session")
def tiny_model(tiny_run: Path) -> Path:
    return tiny_run / "model"


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of this process alone, for what runs on a Ray Train worker."""
    import torch.distributed as dist

    rendezvous = tmp_path_factory.mktemp("gloo") / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()

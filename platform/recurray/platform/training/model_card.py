"""The card of a saved model: what it is, what it was trained on, what it scores and by which command."""

from collections.abc import Mapping

from recurray.platform.config.loading import to_yaml
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Counts
from recurray.platform.tasks.task import Task


def model_card(task: Task, config: RunConfig, counts: Counts, step: int, dev_figures: Mapping[str, float]) -> str:
    """The `README.md` of a run's model, in Markdown."""
    data = config.data
    languages = " → ".join(dict.fromkeys(language for language in (data.src_lang, data.tgt_lang) if language))
    corpus = data.corpus.name if data.corpus else "the sources in the run's config.yaml"
    figures = "\n".join(f"| {name} | {value:.3f} |" for name, value in dev_figures.items())
    command = {"translation": "translate", "summarization": "summarize"}.get(config.task)
    use = f"\n    recurray {command} runs/{config.name}/model --input FILE --output FILE\n" if command else ""
    return f"""# {config.name}: {config.task}{", " + languages if languages else ""}

{" ".join(["Made by recurray.", task.describe(config)]).rstrip()}
{use}
## Network

```yaml
{to_yaml(config.model).rstrip()}
```

## Data

{corpus}: {counts.kept} of {counts.read} pairs, {counts.src_pieces} source and {counts.tgt_pieces} target positions.

## Validation

At step {step} of {config.training.steps}, on the dev set, greedy, by each metric's default signature:

| figure | value |
|---|---|
{figures}

Logged by `recurray train runs/{config.name}/config.yaml`. Scores on a test set with their signatures are printed by
`recurray evaluate`.
"""

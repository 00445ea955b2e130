from recurray.jobs.corpus import corpus
from recurray.jobs.evaluate import evaluate
from recurray.jobs.prepare import prepare
from recurray.jobs.report import report
from recurray.jobs.summarize import summarize
from recurray.jobs.train import train
from recurray.jobs.translate import translate

__all__ = ["corpus", "evaluate", "prepare", "report", "summarize", "train", "translate"]

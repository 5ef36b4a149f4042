"""One request through admission, scheduling, routing, a transport and the meter: the only room that sees them all."""

from penstock.serving.pipeline.pipeline import Pipeline
from penstock.serving.pipeline.rooms import Observer, PipelineRules, Rooms

__all__ = ["Observer", "Pipeline", "PipelineRules", "Rooms"]

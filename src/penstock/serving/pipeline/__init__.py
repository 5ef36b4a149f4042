"""One request through admission, scheduling, routing, a transport and the meter: the only room that sees them all."""

from penstock.serving.pipeline.collaborators import Collaborators, Observer, PipelineRules
from penstock.serving.pipeline.pipeline import Pipeline

__all__ = ["Collaborators", "Observer", "Pipeline", "PipelineRules"]
